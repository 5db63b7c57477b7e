#!/usr/bin/env python3
"""PyPI protobuf as the judge of our codec: oracle.py DESCRIPTOR_SET MESSAGE_TYPE < requests > answers

A request is a line "wire HEX" or "json TEXT", an answer the line "HEX<tab>JSON" with the message as the judge writes it, or
"refused<tab>reason". A part that cannot be written is "-".
"""
import sys

from google.protobuf import descriptor_pb2, descriptor_pool, json_format, message_factory

files = descriptor_pb2.FileDescriptorSet()
with open(sys.argv[1], "rb") as stream:
    files.ParseFromString(stream.read())
pool = descriptor_pool.DescriptorPool()
for file in files.file:
    pool.Add(file) if hasattr(pool, "Add") else pool.AddSerializedFile(file.SerializeToString())
Message = message_factory.GetMessageClass(pool.FindMessageTypeByName(sys.argv[2]))

for line in sys.stdin:
    kind, _, rest = line.rstrip("\n").partition(" ")
    message = Message()
    try:
        if kind == "wire":
            message.ParseFromString(bytes.fromhex(rest))
        else:
            json_format.Parse(rest, message, descriptor_pool=pool)
        wire = message.SerializeToString(deterministic=True).hex()  # fails where a required field is missing
    except Exception as error:  # whatever it is, it is the judge's verdict
        print("refused\t" + str(error).replace("\n", " ").replace("\t", " "), flush=True)
        continue
    try:
        text = json_format.MessageToJson(message, indent=None, descriptor_pool=pool, ensure_ascii=False)
    except Exception:
        text = "-"
    print(wire + "\t" + text, flush=True)
