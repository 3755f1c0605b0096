"""`doctor`: checks a database. It never writes."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import asdict
from typing import cast

from agents_store_cloudflare.command import doctor_sql
from agents_store_cloudflare.command.doctor_findings import COUNTS, EXAMPLES, LISTS, Count, Finding, Listing
from agents_store_cloudflare.command.doctor_schema import look_at_schema
from agents_store_cloudflare.command.opening import OpenDatabase, open_database
from agents_store_cloudflare.command.parsers import Commands, add_command
from agents_store_cloudflare.command.row_faults_sql import fault_statement
from agents_store_cloudflare.command.row_rules import columns_by_table
from agents_store_cloudflare.command.text import json_text, printable
from agents_store_cloudflare.contract.arguments import system_now_ms
from agents_store_cloudflare.database import Database, SqlError, Statement, batch_with_retry
from agents_store_cloudflare.migrations import CURRENT_SCHEMA_VERSION, get_agents_migration_version

__all__ = ["add_parser"]


def add_parser(commands: Commands) -> None:
    """Add the command."""
    add_command(commands, "doctor", _run, help="check the database; status 1 when there is a problem")


async def _run(options: argparse.Namespace) -> int:
    with open_database(options) as opened:
        version = await get_agents_migration_version(opened.database)
        findings = await _findings(opened, version)
    problems = sum(finding.level == "problem" for finding in findings)
    if options.json:
        found = [asdict(finding) for finding in findings]
        print(json_text({"database": opened.place, "schema": version, "problems": problems, "findings": found}))
    else:
        _print(opened.place, version, findings, problems)
    return int(problems > 0)


def _print(place: str, version: int, findings: Sequence[Finding], problems: int) -> None:
    print(printable(f"{place}: schema version {version}"))
    for finding in findings:
        about = f": {'; '.join(finding.about)}" if finding.about else ""
        print(printable(f"{finding.level}: {finding.text}{about}"))
        print(printable(f"  -> {finding.remedy}"))
    print(f"{problems} problems" if problems != 1 else "1 problem")


async def _findings(opened: OpenDatabase, version: int) -> list[Finding]:
    database = opened.database
    findings = await _quick_check(database)
    if version != CURRENT_SCHEMA_VERSION:
        return [*findings, _other_version(version)]
    findings += await look_at_schema(database)
    if any(finding.check == "missing_table" for finding in findings):
        return findings
    findings += await _bad_values(database)
    for listing in LISTS:
        findings += await _listed(database, listing)
    for count in COUNTS:
        findings += await _counted(database, count)
    return findings


def _other_version(version: int) -> Finding:
    newer = version > CURRENT_SCHEMA_VERSION
    return Finding(
        level="problem",
        check="schema_version",
        text=f"the schema is at version {version}, this command knows {CURRENT_SCHEMA_VERSION}; nothing else was checked",
        remedy="install the newer agents-store-cloudflare" if newer else "run `migrate`, then `doctor` again",
    )


async def _quick_check(database: Database) -> list[Finding]:
    """Run SQLite's own check of the file. If the database forbids it, the finding is a note."""
    try:
        [rows] = await batch_with_retry(database, [Statement(doctor_sql.QUICK_CHECK)])
    except SqlError as error:
        if "not authorized" not in str(error) and "SQLITE_AUTH" not in str(error):
            raise
        text = "the database does not allow PRAGMA quick_check; its pages were not checked"
        return [
            Finding(level="note", check="quick_check", text=text, remedy="nothing to do: D1 checks its own storage")
        ]
    said = tuple(str(row[0]) for row in rows)
    if said == ("ok",):
        return []
    return [
        Finding(
            level="problem",
            check="quick_check",
            text="the file is damaged",
            about=said[:EXAMPLES],
            remedy="bring the database back with D1 Time Travel, or the file from a backup",
        )
    ]


async def _bad_values(database: Database) -> list[Finding]:
    """Return the rows with unreadable values, table by table."""
    listings = [
        Listing(
            check="bad_values",
            sql=fault_statement(table, columns),
            text=f"rows of {table} with values that no call of this package writes",
            remedy="somebody wrote them by hand: set the column to the right value, or delete the row",
        )
        for table, columns in (await columns_by_table()).items()
    ]
    return [finding for listing in listings for finding in await _listed(database, listing)]


async def _listed(database: Database, listing: Listing) -> list[Finding]:
    [rows] = await batch_with_retry(database, [Statement(listing.sql, (EXAMPLES + 1,))])
    if not rows:
        return []
    about = [str(row[0]) for row in rows[:EXAMPLES]]
    if len(rows) > EXAMPLES:
        about.append("and more")
    return [Finding(level="problem", check=listing.check, text=listing.text, about=tuple(about), remedy=listing.remedy)]


async def _counted(database: Database, count: Count) -> list[Finding]:
    parameters = (system_now_ms(),) if count.takes_now else ()
    [[row]] = await batch_with_retry(database, [Statement(count.sql, parameters)])
    number = cast("int", row[0])
    if not number:
        return []
    return [Finding(level="note", check=count.check, text=f"{number:,} {count.text}", remedy=count.remedy)]
