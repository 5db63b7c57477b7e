"""Finds every SQL text in the Swift sources and tries it on PostgreSQL.

  portable.py [--list] -- PSQL ARGUMENTS…

SQL is written as StaticString, which only a literal can be: whoever has all literals has all SQL. A literal that begins with a verb of SQL
is SQL; what is handed to `query`, `first`, `execute` or `executeCounting` and is none, or is put together at run time, fails. Texts labelled
`sqlite:` of a migration are its schema. The two dialects differ in what `schema` and `statement` below translate, and nowhere else.
"""

import argparse
import pathlib
import re
import subprocess
import sys
import tempfile

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


def schema(sql):
    """Types have other names, text is compared by its bytes, and tables of SQLite's own kinds are tables."""
    sql = re.sub(r"\)\s*(?:STRICT|WITHOUT ROWID)(?:\s*,\s*(?:STRICT|WITHOUT ROWID))*", ")", one_line(sql))
    sql = re.sub(r"\bINTEGER\b", "BIGINT", sql)
    sql = re.sub(r"\bREAL\b", "DOUBLE PRECISION", sql)
    sql = re.sub(r"\bBLOB\b", "BYTEA", sql)
    return re.sub(r"\bTEXT\b", 'TEXT COLLATE "C"', sql)


def statement(sql):
    """Parameters are numbered with another sign."""
    return re.sub(r"\?(\d+)", r"$\1", one_line(sql))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--list", action="store_true", help="prints what it finds")
    parser.add_argument("psql", nargs="*")
    options = parser.parse_args()
    texts, faults = [], []
    for folder in FOLDERS:
        for path in sorted(pathlib.Path(folder).rglob("*.swift")):
            if not path.name.endswith(".pb.swift"):
                found, wrong = literals(path)
                texts, faults = texts + found, faults + wrong
    schemas = [text for text in texts if text.is_schema]
    statements = [text for text in texts if not text.is_schema]
    # One text a line, so that the line of an error says which.
    lines = [(text.place, f"{schema(text.sql).rstrip('; ')};") for text in schemas]
    lines += [(text.place, f"PREPARE s{number} AS {statement(text.sql)};") for number, text in enumerate(statements)]
    if options.list:
        for place, line in lines:
            print(f"{place}: {line}")
    with tempfile.NamedTemporaryFile("w", suffix=".sql") as file:
        file.write("".join(line + "\n" for _, line in lines))
        file.flush()
        with open(file.name) as script:
            run = subprocess.run(options.psql + ["-q", "-X", "-f", "-"], stdin=script, capture_output=True, text=True)
    for error in re.finditer(r"psql:<stdin>:(\d+): ERROR:\s*(.*)", run.stderr):
        place, line = lines[int(error[1]) - 1]
        faults.append(f"{place}: {error[2]}\n    {line[:300]}")
    if run.returncode != 0:
        faults.append(f"psql: exit {run.returncode}\n{run.stderr[-2000:]}")
    for fault in faults:
        print(f"postgres: {fault}", file=sys.stderr)
    print(f"{len(schemas)} schemas applied and {len(statements)} statements prepared, {len(faults)} of them in vain")
    if len(schemas) < 8 or len(statements) < 100:
        sys.exit("postgres: where is the SQL?")
    sys.exit(1 if faults else 0)


main()
