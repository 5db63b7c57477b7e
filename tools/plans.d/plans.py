"""Applies all migrations to an empty SQLite and asks EXPLAIN QUERY PLAN of every statement in the Swift sources.

A statement that scans a table, or the whole of an index, takes the longer the more there is: fine for a check of everything or for tables
that stay small, and not for a call. Which those are, and why, stands in tools/plans.d/allowed.txt. SQLite judges without statistics, as it
does in the server.
"""

import argparse
import pathlib
import re
import sqlite3
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "common"))
from statements import everything, one_line  # noqa: E402

ALLOWED = pathlib.Path(__file__).parent / "allowed.txt"
# The engine's own table, which no migration makes.
ENGINE = """CREATE TABLE migration (room TEXT NOT NULL, number INTEGER NOT NULL, name TEXT NOT NULL, checksum INTEGER NOT NULL,
  PRIMARY KEY (room, number)) STRICT, WITHOUT ROWID"""
SCAN = re.compile(r"SCAN (\w+)(?:.* INDEX (\w+))?")


def allowances(faults):
    """Tables that stay small, and statements that may scan: (file, beginning)."""
    tables, statements = {}, {}
    for number, line in enumerate(ALLOWED.read_text().splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        parts = [part.strip() for part in line.split(" | ")]
        if parts[0] == "table" and len(parts) == 3:
            tables[parts[1]] = number
        elif parts[0] == "statement" and len(parts) == 4:
            statements[parts[1], parts[2]] = number
        else:
            faults.append(f"{ALLOWED.name}:{number}: neither “table | NAME | WHY” nor “statement | FILE | BEGINNING | WHY”")
    return tables, statements


def explain(database, sql):
    parameters = max((int(number) for number in re.findall(r"\?(\d+)", sql)), default=0)
    return [row[3] for row in database.execute("EXPLAIN QUERY PLAN " + sql, [None] * parameters)]


def scans(database, sql):
    """The tables that a statement reads from one end on without a key, other than by an index of few rows alone."""
    tables = {row[0] for row in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    partial = {row[0] for row in database.execute("SELECT name FROM sqlite_master WHERE type = 'index' AND sql LIKE '% WHERE %'")}
    # The name as it stands in the plan: an alias hides the table of the same name, and what is neither is a subquery's.
    aliases = {alias: table for table, alias in re.findall(r"\b(?:FROM|JOIN)\s+(\w+)(?:\s+AS)?\s+(\w+)", sql) if table in tables}
    found = [match for step in explain(database, sql) if (match := SCAN.match(step)) and match[2] not in partial]
    return [name for name in (aliases.get(match[1], match[1]) for match in found) if name in tables]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--list", action="store_true", help="prints the plan of every statement")
    options = parser.parse_args()
    schemas, statements, faults = everything()
    tables, allowed = allowances(faults)
    database = sqlite3.connect(":memory:")
    database.execute(ENGINE)
    # Files are in the order of their names: what needs another's table, or a later step's, waits for it.
    waiting = [part for text in schemas for part in one_line(text.sql).split(";") if part.strip()]
    while waiting:
        later = []
        for sql in waiting:
            try:
                database.execute(sql)
            except sqlite3.OperationalError as error:
                later.append((sql, error))
        if len(later) == len(waiting):
            sys.exit(f"plans: cannot be applied: {later[0][1]}: {later[0][0][:200]}")
        waiting = [sql for sql, _ in later]
    used = set()
    for text in statements:
        sql, path = one_line(text.sql), text.place.rsplit(":", 1)[0]
        try:
            found = scans(database, sql)
        except sqlite3.OperationalError as error:
            faults.append(f"{text.place}: {error}\n    {sql[:200]}")
            continue
        if options.list:
            for step in explain(database, sql):
                print(f"{text.place}: {step}")
        for table in found:
            if table in tables:
                used.add(tables[table])
                continue
            permit = next((number for (file, start), number in allowed.items() if file == path and sql.startswith(start)), None)
            if permit is None:
                faults.append(f"{text.place}: reads all of {table}\n    {sql[:300]}")
            used.add(permit)
    for what, number in list(tables.items()) + list(allowed.items()):
        if number not in used:
            faults.append(f"{ALLOWED.name}:{number}: nothing needs this any more: {what}")
    for fault in faults:
        print(f"plans: {fault}", file=sys.stderr)
    print(f"{len(statements)} statements explained, {len(faults)} faults")
    if len(statements) < 100:
        sys.exit("plans: where is the SQL?")
    sys.exit(1 if faults else 0)


main()
