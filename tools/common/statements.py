"""Finds every SQL text in the Swift sources.

SQL is written as StaticString, which only a literal can be: whoever has all literals has all SQL. A literal that begins with a verb of SQL
is SQL; what is handed to `query`, `first`, `execute` or `executeCounting` and is none, or is put together at run time, is a fault. Texts
labelled `sqlite:` of a migration are its schema.
"""

import pathlib
import re

FOLDERS = ["Sources/Store", "Sources/Services", "Sources/Apps"]
VERB = re.compile(r"\s*(SELECT|INSERT|UPDATE|DELETE|WITH|CREATE|ALTER|DROP)\b")
# What the engine says to SQLite alone: it has its own words for each database.
ENGINE = re.compile(r"\s*(PRAGMA|BEGIN|COMMIT|ROLLBACK|SAVEPOINT|RELEASE|VACUUM)\b")
ENGINE_FOLDER = "Sources/Store/Database/SQLite/"
CALL = re.compile(r"\b(?:query|first|execute|executeCounting)\(\s*$")
# Swift code, comments and literals; a literal of several lines, one with its own delimiters, or one of a line.
TOKEN = re.compile(r'//[^\n]*|/\*.*?\*/|(?P<hash>#+)"(?P<raw>.*?)"(?P=hash)|"""(?P<long>.*?)"""|"(?P<short>(?:[^"\\\n]|\\.)*)"', re.DOTALL)


class Text:
    def __init__(self, path, line, sql, is_schema):
        self.place, self.sql, self.is_schema = f"{path}:{line}", sql, is_schema


def literals(path):
    """The SQL of a file, and what cannot be told."""
    source = path.read_text()
    texts, faults = [], []
    for token in TOKEN.finditer(source):
        value = next((token[name] for name in ("raw", "long", "short") if token[name] is not None), None)
        if value is None:
            continue
        value = re.sub(r"^(?:\s*--[^\n]*\n)+", "", value)  # what is said of it first
        line = source.count("\n", 0, token.start()) + 1
        before = source[max(0, token.start() - 120):token.start()]
        # A collection's or a message's own method of that name has a label first: `first(where:`.
        is_argument = bool(CALL.search(before))
        if str(path).startswith(ENGINE_FOLDER) and ENGINE.match(value):
            continue
        if not VERB.match(value):
            if is_argument or re.match(r"\s*(?:PRAGMA|BEGIN|SAVEPOINT)\b", value):
                faults.append(f"{path}:{line}: no SQL that is known here: {value.strip()[:80]}")
            continue
        if not (is_argument or re.search(r"[;\n]|\b(FROM|INTO|SET|TABLE|INDEX)\b", value)):
            continue  # a sentence that begins like that
        if re.search(r"\\\(", value):
            faults.append(f"{path}:{line}: SQL that is put together at run time")
            continue
        is_schema = bool(re.match(r"\s*(CREATE|ALTER|DROP)\b", value)) or ";" in value
        # A migration may move data as well: it is labelled.
        is_schema = is_schema or bool(re.search(r"sqlite:\s*$", before) and not re.search(r"WorkQueue\(\s*sqlite:\s*$", before))
        if "Step(" not in before and is_schema and not re.search(r"(sqlite:|script:)\s*$", before):
            faults.append(f"{path}:{line}: a schema outside a migration")
            continue
        texts.append(Text(path, line, value, is_schema))
    return texts, faults


def one_line(sql):
    sql = re.sub(r"--[^\n]*", "", sql)
    return re.sub(r"\s+", " ", re.sub(r"\\\n\s*", "", sql)).strip()


def everything():
    """All schemas in the order of their files, all statements, all faults."""
    texts, faults = [], []
    for folder in FOLDERS:
        for path in sorted(pathlib.Path(folder).rglob("*.swift")):
            if not path.name.endswith(".pb.swift"):
                found, wrong = literals(path)
                texts, faults = texts + found, faults + wrong
    return [text for text in texts if text.is_schema], [text for text in texts if not text.is_schema], faults
