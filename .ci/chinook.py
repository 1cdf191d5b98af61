#!/usr/bin/env python3
"""Acceptance on real input: the Chinook music shop on SQLite, PostgreSQL and MariaDB.

Usage: chinook.py BINARY FOLDER

For each database a plan is drafted by the binary, edited as a person would, checked and served; erasures are
submitted over HTTP, and afterwards every table is compared with what must have changed, row by row.

  plan A  customers and invoices masked with a basis, lines kept
  plan B  lines, invoices and customers deleted
  plan C  customers deleted over kept invoices: `check` refuses it, because invoice.customer_id is NOT NULL

Only the standard library, and the command lines of PostgreSQL and MariaDB, which come with their servers.
"""

import json
import os
import re
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

GONE = "[erased]"
GONE_MAIL = "erased@example.invalid"


def run(*command, stdin=None):
    done = subprocess.run(command, input=stdin, capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"{command[0]} failed: {done.stderr.strip()[:2000]}")
    return done.stdout


class Sqlite:
    name = "SQLite"

    def __init__(self, folder, work):
        self.path = work / "chinook.db"
        self.url = f"sqlite:{self.path}"
        with sqlite3.connect(self.path) as connection:
            connection.executescript((folder / "chinook_sqlite.sql").read_text("utf-8-sig"))
        connection.close()

    def tables(self):
        connection = sqlite3.connect(self.path)
        names = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        tables = {}
        for name in names:
            cursor = connection.execute(f'SELECT * FROM "{name}"')
            columns = [column[0] for column in cursor.description]
            tables[name] = [dict(zip(columns, (None if v is None else str(v) for v in row))) for row in cursor]
        connection.close()
        return tables

    def drop(self):
        self.path.unlink()


class Postgres:
    name = "PostgreSQL"
    server = ("psql", "-h", "127.0.0.1", "-U", "postgres", "-X", "-q", "-v", "ON_ERROR_STOP=1")

    def __init__(self, folder, work):
        self.database = f"rightful_chinook_{os.getpid()}"
        self.url = f"postgres://postgres@127.0.0.1:5432/{self.database}"
        run(*self.server, "-c", f"CREATE DATABASE {self.database}")
        script = (folder / "chinook_postgresql.sql").read_text("utf-8-sig")
        # The file makes a database of a fixed name; this one is our own.
        script = re.sub(r"(?m)^(DROP DATABASE|CREATE DATABASE|\\c) .*$", "", script)
        run(*self.server, "-d", self.database, stdin=script)

    def query(self, sql):
        return run(*self.server, "-d", self.database, "-c", f"COPY ({sql}) TO STDOUT").splitlines()

    def tables(self):
        columns = {}
        for line in self.query(
            "SELECT table_name, column_name FROM information_schema.columns WHERE table_schema = 'public' "
            "ORDER BY table_name, ordinal_position"
        ):
            table, column = line.split("\t")
            columns.setdefault(table, []).append(column)
        return {
            table: [
                dict(zip(names, (None if v == r"\N" else v for v in line.split("\t"))))
                for line in self.query(f'SELECT * FROM "{table}"')
            ]
            for table, names in columns.items()
        }

    def drop(self):
        run(*self.server, "-c", f"DROP DATABASE {self.database} WITH (FORCE)")


class MariaDb:
    name = "MariaDB"
    server = ("mariadb", "-h127.0.0.1", "-uroot", "--default-character-set=utf8mb4", "--batch", "--skip-column-names")

    def __init__(self, folder, work):
        self.database = f"rightful_chinook_{os.getpid()}"
        self.url = f"mysql://root@127.0.0.1:3306/{self.database}"
        script = (folder / "chinook_mysql.sql").read_text("utf-8-sig")
        run(*self.server, stdin=script.replace("`Chinook`", f"`{self.database}`"))

    def tables(self):
        columns = {}
        for line in run(
            *self.server,
            "-e",
            "SELECT table_name, column_name FROM information_schema.columns "
            f"WHERE table_schema = '{self.database}' ORDER BY table_name, ordinal_position",
        ).splitlines():
            table, column = line.split("\t")
            columns.setdefault(table, []).append(column)
        tables = {}
        for table, names in columns.items():
            # QUOTE keeps NULL apart from the text.
            fields = ", ".join(f"QUOTE(`{name}`)" for name in names)
            lines = run(*self.server, self.database, "-e", f"SELECT {fields} FROM `{table}`").splitlines()
            tables[table] = [
                dict(zip(names, (None if v == "NULL" else v[1:-1] for v in line.split("\t")))) for line in lines
            ]
        return tables

    def drop(self):
        run(*self.server, "-e", f"DROP DATABASE `{self.database}`")


class Names:
    """The same tables are `invoice_line.invoice_id` on PostgreSQL and `InvoiceLine.InvoiceId` elsewhere."""

    def __init__(self, database):
        self.snake = isinstance(database, Postgres)

    def __call__(self, name):
        return name if self.snake else "".join(part.capitalize() for part in name.split("_"))


class Site:
    """An installation of the binary in a folder of its own."""

    def __init__(self, binary, folder, url):
        self.binary, self.folder = binary, folder
        self.rightful("init", "--connection", f"shop={url}")
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        config = folder / "rightful.yaml"
        config.write_text(config.read_text().replace("127.0.0.1:8080", f"127.0.0.1:{port}"))
        self.base = f"http://127.0.0.1:{port}"
        self.token = self.rightful("token", "--role", "admin,auditor", "--subject", "acceptance").strip()

    def attempt(self, *arguments):
        return subprocess.run((self.binary, *arguments), cwd=self.folder, capture_output=True, text=True)

    def rightful(self, *arguments):
        done = self.attempt(*arguments)
        if done.returncode != 0:
            sys.exit(f"rightful {' '.join(arguments)} exits {done.returncode}:\n{done.stdout}{done.stderr}")
        return done.stdout

    def call(self, path, body=None):
        request = urllib.request.Request(self.base + path, headers={"authorization": f"Bearer {self.token}"})
        if body is not None:
            request.data = json.dumps(body).encode()
            request.add_header("content-type", "application/json")
        # No proxy of the environment: the service is on this machine.
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(request, timeout=30) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as error:
            sys.exit(f"{path}: {error.code} {error.read().decode()[:1000]}")

    def serve(self):
        log = open(self.folder / "serve.log", "w")
        self.process = subprocess.Popen((self.binary, "serve"), cwd=self.folder, stdout=log, stderr=log)
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline and self.process.poll() is None:
            try:
                return self.call("/readyz")
            except OSError:
                time.sleep(0.05)
        sys.exit(f"serve does not answer:\n{(self.folder / 'serve.log').read_text()}")

    def erase(self, subject):
        submitted = self.call("/v1/requests", {"kind": "erasure", "plan": "customer", "subject": subject})
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            request = self.call(f"/v1/requests/{submitted['id']}?wait=5s")
            if request["status"] in ("completed", "failed", "cancelled"):
                break
        expect(request["status"] == "completed", f"the erasure of {subject} is {json.dumps(request)}")
        return request

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        expect(self.process.wait(10) == 0, "serve does not end well on SIGTERM")

    def kill(self):
        if getattr(self, "process", None) and self.process.poll() is None:
            self.process.kill()


def expect(condition, message):
    if not condition:
        sys.exit(f"FAILED: {message}")


def edited(plan, table, erase):
    """Replaces the `erase` of one drafted table."""
    pattern = rf"(?m)(^    {table}:\n(?:      .*\n)*?      )erase: delete.*$"
    plan, count = re.subn(pattern, lambda found: found.group(1) + f"erase: {erase}", plan)
    expect(count == 1, f"the draft has no plain `erase: delete` of {table}:\n{plan}")
    return plan


def masked(customers, nulled, constants):
    pairs = [f'{column}: {{ string_rewrite: "{text}" }}' for column, text in constants.items()]
    pairs += [f"{column}: null_rewrite" for column in nulled]
    return f'{{ mask: {{ {", ".join(pairs)} }}, basis: "{customers}" }}'


class Case:
    def __init__(self, binary, database, work):
        self.database, self.name = database, Names(database)
        self.site = Site(binary, work, database.url)
        n = self.name
        self.plan = self.site.rightful(
            "draft", "--connection", "shop", "--subject", f"{n('customer')}.{n('customer_id')}"
        )
        self.file = work / "plans" / "customer.yaml"
        self.constants = {n("first_name"): GONE, n("last_name"): GONE, n("email"): GONE_MAIL}
        personal = "company address city state country postal_code phone fax"
        self.nulled = [n(column) for column in personal.split()]
        billing = "billing_address billing_city billing_state billing_country billing_postal_code"
        self.billing = [n(column) for column in billing.split()]

    def refused(self):
        n = self.name
        plan = self.plan
        for table in ("invoice", "invoice_line"):
            plan = edited(plan, n(table), '{ keep: "accounting" }')
        self.file.write_text(plan)
        done = self.site.attempt("check")
        expect(done.returncode == 1, f"plan C is not refused: exit {done.returncode}")
        for words in (f"{n('invoice')}.{n('customer_id')}", "NOT NULL"):
            expect(words in done.stdout, f"the refusal of plan C does not say `{words}`:\n{done.stdout}")

    def mask(self):
        n = self.name
        plan = edited(self.plan, n("customer"), masked("tax law", self.nulled, self.constants))
        plan = edited(plan, n("invoice"), masked("tax law", self.billing, {}))
        self.file.write_text(edited(plan, n("invoice_line"), '{ keep: "accounting" }'))
        erased = {"1", "7", "42"}

        def change(table, row):
            if row.get(n("customer_id")) not in erased:
                return row
            blank = self.nulled if table == n("customer") else self.billing
            constants = self.constants if table == n("customer") else {}
            return {**row, **dict.fromkeys(blank), **constants}

        requests = self.carried_out([{"customer_id": int(id)} for id in sorted(erased)], change)
        for request in requests:
            expect(request["outcome"] == "done_with_exceptions", f"plan A: {json.dumps(request)}")

    def delete(self):
        n = self.name
        # The e-mail address is not unique in the schema: a person decides that it may name the customer.
        plan, count = re.subn(r"(?m)^  # (email: \{.*?\}) .*$", r"  \1", self.plan)
        expect(count == 1, f"the draft offers no e-mail identity:\n{self.plan}")
        self.file.write_text(plan)
        before = self.database.tables()
        by_mail = next(row for row in before[n("customer")] if row[n("customer_id")] == "12")
        subjects = [{"customer_id": 3}, {"customer_id": "59"}, {"email": by_mail[n("email")].upper()}]
        erased = {"3", "59", "12"}
        invoices = {
            row[n("invoice_id")] for row in before[n("invoice")] if row[n("customer_id")] in erased
        }

        def change(table, row):
            if table in (n("customer"), n("invoice")) and row[n("customer_id")] in erased:
                return None
            if table == n("invoice_line") and row[n("invoice_id")] in invoices:
                return None
            return row

        requests = self.carried_out(subjects, change)
        for request in requests:
            expect(request["outcome"] == "done", f"plan B: {json.dumps(request)}")
        left = json.dumps(self.database.tables())
        expect(by_mail[n("email")] not in left, "the erased e-mail address is still in the database")

    def carried_out(self, subjects, change):
        """Serves the plan, erases, and compares every table with the rows that `change` makes of the old ones."""
        self.site.rightful("check")
        before = self.database.tables()
        expect(sum(len(rows) for rows in before.values()) > 15000, "Chinook is not loaded whole")
        self.site.serve()
        requests = [self.site.erase(subject) for subject in subjects]
        verified = self.site.call("/v1/audit/verify")
        expect(verified["ok"] and verified["events"] > 0, f"the audit log: {verified}")
        self.site.stop()
        expect("intact" in self.site.rightful("audit", "verify"), "the audit log does not verify offline")
        after = self.database.tables()
        expect(before.keys() == after.keys(), "tables came or went")
        for table, rows in before.items():
            wanted = [changed for row in rows if (changed := change(table, row)) is not None]
            compare(table, wanted, after[table])
        return requests


def compare(table, wanted, found):
    as_text = lambda row: json.dumps(row, sort_keys=True)
    wanted, found = sorted(map(as_text, wanted)), sorted(map(as_text, found))
    if wanted != found:
        missing = [row for row in wanted if row not in found][:3]
        surplus = [row for row in found if row not in wanted][:3]
        sys.exit(f"FAILED: {table} is not as it must be\n  missing {missing}\n  surplus {surplus}")


def main():
    binary, folder = Path(sys.argv[1]).resolve(), Path(sys.argv[2]).resolve()
    for kind in (Sqlite, Postgres, MariaDb):
        for plan in ("refused", "mask", "delete"):
            begun = time.monotonic()
            with tempfile.TemporaryDirectory(prefix="rightful-chinook-") as work:
                work = Path(work)
                database = kind(folder, work)
                case = None
                try:
                    case = Case(binary, database, work)
                    getattr(case, plan)()
                finally:
                    if case:
                        case.site.kill()
                    database.drop()
            print(f"ok: Chinook on {kind.name}, {plan} ({time.monotonic() - begun:.1f} s)", flush=True)


main()
