#!/usr/bin/env python3
"""A server that speaks OpenAI's chat completions, and everything that goes wrong with them: model_server.py [--key KEY] [--port N]

Prints "listening on PORT". The model's name says what it does:

  words:N          N words, one token each; one chunk each
  words:N:quiet    the same, and never says what was used
  held:N           N words; after half of them it waits for POST /release
  planner          looks for open places, proposes a route through the nearest, says so
  eager            asks for tools that it was not given, and wants to redeem
  endless-tools    asks for a tool for ever
  crlf             CRLF, comments, other fields, data in two lines
  bytes            every byte in a chunk of its own
  length, filter, refusal
  rate, fault, overloaded, context, unknown, page, html, junk, badutf, truncated, dropped, huge, mute, stall, late
  echo             says what it was told

POST /release lets one held answer go on; GET /held answers when one is held; GET /stats tells what was asked: requests, tokens that were
sent, answers whose reader went away. It ends with the process that started it.
"""
import argparse
import asyncio
import json
import os

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--key", default="")
parser.add_argument("--port", type=int, default=0)
options = parser.parse_args()

stats = {"requests": 0, "tokens": 0, "gone": 0, "models": []}
held = asyncio.Semaphore(0)
released = asyncio.Semaphore(0)


def text_of(message):
    content = message.get("content") or ""
    return content if isinstance(content, str) else json.dumps(content)


def prompt_tokens(body):
    return (sum(len(text_of(message).encode()) for message in body["messages"]) + 3) // 4


class Answer:
    """One answer over one connection, in HTTP/1.1 chunks."""

    def __init__(self, writer, body):
        self.writer = writer
        self.body = body
        self.tokens = 0

    async def raw(self, data, line_end=b"\r\n"):
        self.writer.write(b"%x" % len(data) + line_end + data + line_end)
        await self.writer.drain()

    async def event(self, value, end="\n"):
        await self.raw(f"data: {value if isinstance(value, str) else json.dumps(value)}{end}{end}".encode())

    def chunk(self, delta=None, finish=None, usage=None):
        choices = [] if delta is None and finish is None else [{"index": 0, "delta": delta or {}, "finish_reason": finish}]
        chunk = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": self.body["model"], "choices": choices}
        if usage is not None:
            chunk["usage"] = usage
        return chunk

    async def head(self, status=200, kind="text/event-stream", extra=""):
        reason = {200: "OK", 400: "Bad Request", 401: "Unauthorized", 404: "Not Found", 429: "Too Many Requests"}.get(status, "Error")
        self.writer.write(
            f"HTTP/1.1 {status} {reason}\r\nContent-Type: {kind}\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n{extra}\r\n".encode())
        await self.writer.drain()

    async def error(self, status, message, code=None, kind="invalid_request_error", extra=""):
        await self.head(status, "application/json", extra)
        await self.raw(json.dumps({"error": {"message": message, "type": kind, "code": code, "param": None}}).encode())
        await self.end()

    async def end(self):
        self.writer.write(b"0\r\n\r\n")
        await self.writer.drain()

    async def word(self, text, end="\n"):
        self.tokens += 1
        stats["tokens"] += 1
        await self.event(self.chunk({"content": text}), end)

    async def call(self, index, identifier, name, arguments):
        """A call of a tool, its arguments in pieces as models send them."""
        self.tokens += 1
        first = {"index": index, "id": identifier, "type": "function", "function": {"name": name, "arguments": ""}}
        await self.event(self.chunk({"tool_calls": [first]}))
        text = json.dumps(arguments)
        for at in range(0, len(text), 7):
            self.tokens += 1
            piece = {"index": index, "function": {"arguments": text[at:at + 7]}}
            await self.event(self.chunk({"tool_calls": [piece]}))

    async def finish(self, reason="stop", quiet=False, end="\n"):
        await self.event(self.chunk({}, reason), end)
        asked = (self.body.get("stream_options") or {}).get("include_usage")
        if asked and not quiet:
            prompt = prompt_tokens(self.body)
            usage = {"prompt_tokens": prompt, "completion_tokens": self.tokens, "total_tokens": prompt + self.tokens}
            await self.event(self.chunk(usage=usage), end)
        await self.event("[DONE]", end)
        await self.end()


def results(body):
    """What tools answered so far, by the name that was called."""
    names = {}
    for message in body["messages"]:
        for call in message.get("tool_calls") or []:
            names[call["id"]] = call["function"]["name"]
    return [(names.get(message["tool_call_id"]), text_of(message)) for message in body["messages"] if message["role"] == "tool"]


async def words(answer, count, quiet=False, hold=False):
    await answer.head()
    await answer.event(answer.chunk({"role": "assistant", "content": ""}))
    limit = answer.body.get("max_tokens") or answer.body.get("max_completion_tokens") or count
    for number in range(min(count, limit)):
        if hold and number == count // 2:
            held.release()
            await released.acquire()
        await answer.word(f"w{number + 1} ")
    await answer.finish("stop" if count <= limit else "length", quiet)


async def planner(answer):
    done = results(answer.body)
    await answer.head()
    if not done:
        await answer.word("Let me look. ")
        await answer.call(0, "call-1", "Lem_ListServicePoints", {"open_only": True, "page_size": 5})
        await answer.finish("tool_calls")
    elif len(done) == 1:
        places = json.loads(done[0][1])["service_points"]
        route = {
            "service_point_ids": [place["service_point"]["service_point_id"] for place in places[:2]],
            "summary": "Two near ones", "rationale": "They are open.", "confidence": 0.8}
        await answer.call(0, "call-2", "propose_route", route)
        await answer.finish("tool_calls")
    else:
        for word in "I suggest two cafés that are near and open.".split(" "):
            await answer.word(word + " ")
        await answer.finish()


async def eager(answer):
    done = results(answer.body)
    await answer.head()
    if not done:
        await answer.call(0, "call-1", "Trutta_Redeem", {"entitlement_id": "ENT-1"})
        await answer.call(1, "call-2", "browser_fetch", {"url": "https://attacker.example/"})
        await answer.finish("tool_calls")
    else:
        await answer.word("They said: " + " | ".join(text for _, text in done))
        await answer.finish()


async def crlf(answer):
    await answer.head(kind="text/event-stream; charset=utf-8")
    await answer.raw(b": keepalive\r\n\r\nevent: message\r\nid: 1\r\nretry: 10\r\n")
    text = json.dumps(answer.chunk({"content": "grüß "}), ensure_ascii=False)
    middle = text.index('"choices"')
    await answer.raw(f"data:{text[:middle]}\r\ndata: {text[middle:]}\r\n\r".encode())
    await answer.raw(b"\n: still here\r\n\r\n")
    answer.tokens += 1
    await answer.word("Gott", "\r\n")
    await answer.finish(end="\r\n")


async def every_byte(answer):
    await answer.head()
    text = "data: " + json.dumps(answer.chunk({"content": "Käse ☕"}), ensure_ascii=False) + "\n\n"
    for byte in text.encode():
        await answer.raw(bytes([byte]))
    answer.tokens += 2
    await answer.finish()


async def serve(answer, model):
    name, *arguments = model.split(":")
    if name == "words":
        await words(answer, int(arguments[0]), quiet="quiet" in arguments)
    elif name == "held":
        await words(answer, int(arguments[0]), hold=True)
    elif name == "planner":
        await planner(answer)
    elif name == "eager":
        await eager(answer)
    elif name == "endless-tools":
        await answer.head()
        await answer.call(0, f"call-{len(results(answer.body))}", "Lem_ListServicePoints", {})
        await answer.finish("tool_calls")
    elif name == "echo":
        await answer.head()
        await answer.word(json.dumps(answer.body["messages"]))
        await answer.finish()
    elif name == "crlf":
        await crlf(answer)
    elif name == "bytes":
        await every_byte(answer)
    elif name == "length":
        await answer.head()
        await answer.word("It goes on")
        await answer.finish("length")
    elif name == "filter":
        await answer.head()
        await answer.word("First ")
        await answer.finish("content_filter")
    elif name == "refusal":
        await answer.head()
        answer.tokens += 1
        await answer.event(answer.chunk({"refusal": "I will not do that."}))
        await answer.finish()
    elif name == "rate":
        await answer.error(429, "Rate limit reached", "rate_limit_exceeded", "rate_limit_error", "Retry-After: 7\r\n")
    elif name == "fault":
        await answer.error(500, "The server had an error", None, "server_error")
    elif name == "overloaded":
        await answer.error(503, "The engine is overloaded", None, "server_error")
    elif name == "context":
        await answer.error(400, "This model's maximum context length is 10 tokens.", "context_length_exceeded")
    elif name == "unknown":
        await answer.error(404, "The model does not exist", "model_not_found")
    elif name == "page":
        await answer.head(502, "text/html")
        await answer.raw(b"<html>Bad gateway</html>")
        await answer.end()
    elif name == "html":
        await answer.head(200, "text/html")
        await answer.raw(b"<html>Sign in</html>")
        await answer.end()
    elif name == "junk":
        await answer.head()
        await answer.word("Good ")
        await answer.event("{\"choices\": [")
        await answer.finish()
    elif name == "badutf":
        await answer.head()
        await answer.raw(b"data: {\"choices\":[{\"delta\":{\"content\":\"\xff\xfe\"}}]}\n\n")
        await answer.finish()
    elif name == "truncated":
        await answer.head()
        for number in range(3):
            await answer.word(f"w{number + 1} ")
        await answer.end()
    elif name == "dropped":
        await answer.head()
        await answer.word("w1 ")
        answer.writer.transport.abort()
    elif name == "huge":
        await answer.head()
        await answer.raw(b"data: " + b"x" * 1_500_000)
        await answer.end()
    elif name == "mute":
        await asyncio.sleep(3_600)
    elif name == "stall":
        await answer.head()
        await answer.word("w1 ")
        await asyncio.sleep(3_600)
    elif name == "late":
        await answer.head()
        await answer.event(answer.chunk({}, None))
        await answer.event({"error": {"message": "The server had an error while it answered", "type": "server_error"}})
        await answer.end()
    else:
        await answer.error(404, f"The model {model} does not exist", "model_not_found")


async def control(answer, method, path):
    """What tests ask beside: how it went, and when to go on."""
    if (method, path) == ("GET", "/stats"):
        await answer.head(kind="application/json")
        await answer.raw(json.dumps(stats).encode())
    elif (method, path) == ("GET", "/held"):
        await held.acquire()
        await answer.head(kind="text/plain")
        await answer.raw(b"held")
    elif (method, path) == ("POST", "/release"):
        released.release()
        await answer.head(kind="text/plain")
    elif (method, path) == ("GET", "/moved"):
        await answer.head(302, "text/plain", "Location: /stats\r\n")
    else:
        return await answer.error(404, f"no {path}")
    await answer.end()


async def complete(answer, headers, content, reader):
    answer.body = json.loads(content)
    stats["requests"] += 1
    stats["models"].append(answer.body["model"])
    if options.key and headers.get("authorization") != f"Bearer {options.key}":
        # As the real one does, it repeats what it was given.
        return await answer.error(401, f"Incorrect API key provided: {headers.get('authorization')}", "invalid_api_key")
    # Nobody sends more before the answer is over: what can be read is that the reader went away.
    watch = asyncio.ensure_future(reader.read(1))
    work = asyncio.ensure_future(serve(answer, answer.body["model"]))
    await asyncio.wait([watch, work], return_when=asyncio.FIRST_COMPLETED)
    watch.cancel()
    if work.done():
        work.result()
    else:
        work.cancel()
        stats["gone"] += 1


async def connection(reader, writer):
    """One request, one answer."""
    try:
        method, path, _ = (await reader.readline()).decode().split(" ", 2)
        headers = {}
        while line := (await reader.readline()).decode().strip():
            name, _, value = line.partition(":")
            headers[name.lower()] = value.strip()
        content = await reader.readexactly(int(headers.get("content-length", 0)))
        answer = Answer(writer, {})
        if method == "POST" and path.endswith("/chat/completions"):
            await complete(answer, headers, content, reader)
        else:
            await control(answer, method, path)
    except (ConnectionError, asyncio.IncompleteReadError, ValueError):
        stats["gone"] += 1
    finally:
        writer.close()


async def main():
    server = await asyncio.start_server(connection, "127.0.0.1", options.port)
    print(f"listening on {server.sockets[0].getsockname()[1]}", flush=True)
    parent = os.getppid()
    async with server:
        # Whoever started it may die without a word.
        while os.getppid() == parent:
            await asyncio.sleep(1)


asyncio.run(main())
