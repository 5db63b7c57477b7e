"""Writes the three messages that every contender decodes: FOLDER/envelope.bin, request.bin, batch.bin. The same bytes every time."""

import os
import struct
import sys


def varint(number):
    out = b""
    while True:
        byte, number = number & 0x7F, number >> 7
        out += bytes([byte | (0x80 if number else 0)])
        if not number:
            return out


def number(field, value):
    return varint(field << 3) + varint(value)


def block(field, value):
    value = value.encode() if isinstance(value, str) else value
    return varint(field << 3 | 2) + varint(len(value)) + value


def double(field, value):
    return varint(field << 3 | 1) + struct.pack("<d", value)


def filler(count, seed):
    return bytes((seed * 31 + index * 7) & 0xFF for index in range(count))


def envelope():
    words = b""
    text = "two flat whites and a slice of sacher torte to table nine please"
    for index, word in enumerate(text.split()[:6]):
        words += block(6, block(1, word) + double(2, 0.31 + index * 0.31) + double(3, 0.58 + index * 0.31) + double(4, 0.9 + index / 100))
    transcript = block(1, "utterance-2026-00042") + block(2, text) + number(3, 1) + double(4, 0.93) + number(5, 2) + words
    labels = b"".join(block(10, block(1, key) + block(2, value)) for key, value in
                      [("channel", "voice"), ("language", "en-GB"), ("device", "kiosk-17")])
    return (
        block(1, "7f3c9a52-0d1e-4c57-9a8e-2f9d6b1c4e11") + block(2, "turn.transcript.final") + block(3, "vienna")
        + block(4, "b2a1f0c4-6d1e-4f57-8a8e-0f9d6b1c4e77") + block(5, filler(16, 3)) + block(6, filler(8, 5)) + number(7, 481_516)
        + varint(8 << 3 | 1) + struct.pack("<Q", 1_767_225_600_123_456_789) + number(9, 1) + labels + block(20, transcript))


def request():
    return block(1, "s-7f3c9a52-0d1e-4c57-9a8e-2f9d") + number(2, 42) + number(3, 50) + number(4, 1)


def batch():
    rows = b""
    for index in range(512):
        text = "row %04d of the stream, with a sentence of plain words behind" % index
        row = block(1, "row-%012d" % index) + block(2, text) + double(3, index * 1.25 + 0.5) + number(4, 481_516 + index)
        rows += block(3, row + number(5, 200 + index % 7) + block(6, filler(32, index)))
    return block(1, "stream-events-7f3c9a52") + number(2, 481_516) + rows


if __name__ == "__main__":
    for name, message in {"envelope": envelope(), "request": request(), "batch": batch()}.items():
        with open(os.path.join(sys.argv[1], name + ".bin"), "wb") as file:
            file.write(message)
        print(name, len(message))
