"""Tries every SQL text in the Swift sources on PostgreSQL (tools/common/statements.py says how they are found).

  portable.py [--list] -- PSQL ARGUMENTS…

The two dialects differ in what `schema` and `statement` below translate, and nowhere else.
"""

import argparse
import pathlib
import re
import subprocess
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "common"))
from statements import everything, one_line  # noqa: E402


def schema(sql):
    """Types have other names, text is compared by its bytes, and tables of SQLite's own kinds are tables."""
    sql = re.sub(r"\)\s*(?:STRICT|WITHOUT ROWID)(?:\s*,\s*(?:STRICT|WITHOUT ROWID))*", ")", one_line(sql))
    sql = re.sub(r"\bINTEGER\b", "BIGINT", sql)
    sql = re.sub(r"\bREAL\b", "DOUBLE PRECISION", sql)
    sql = re.sub(r"\bBLOB\b", "BYTEA", sql)
    sql = re.sub(r"\bx'([0-9A-Fa-f]*)'", r"'\\x\1'", sql)
    return re.sub(r"\bTEXT\b", 'TEXT COLLATE "C"', sql)


def statement(sql):
    """Parameters are numbered with another sign."""
    return re.sub(r"\?(\d+)", r"$\1", one_line(sql))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--list", action="store_true", help="prints what it finds")
    parser.add_argument("psql", nargs="*")
    options = parser.parse_args()
    schemas, statements, faults = everything()
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
