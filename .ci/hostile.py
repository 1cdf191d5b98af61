#!/usr/bin/env python3
"""Hostile input: schemathesis against the running service, with a fixed budget.

Usage: hostile.py BINARY [EXAMPLES]      (with schemathesis installed for this Python)

The service has something of everything: requests at every stage, a policy, a backup, a schedule, a hold, signed
checkpoints. It is tried twice: with its description as it is served, and with one that names what is really there, so
that the tries get past the first check. No answer may be a server error or other than described; afterwards the service
is ready, its log verifies, and nothing was logged as an internal error.

`positive_data_acceptance` is left out: which plans, cursors and identities there are is no matter of the description.
"""

import json
import os
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

import yaml

CONFIG = """
listen: 127.0.0.1:{port}
store: sqlite:store.db
plans: plans
auth:
  issuer: hostile
  audience: rightful
  roles_claim: roles
  keys: {{ hmac_secret: "{secret}" }}
secrets: {{ pseudonym_key: AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8= }}
connections: {{ shop: {{ url: "sqlite:shop.db" }} }}
approval: {{ rectification: required }}
evidence: {{ key: "${{file:evidence_key}}" }}
retention:
  policies:
    old_visits: {{ connection: shop, table: visits, timestamp: at, older_than: 5y, action: delete, basis: none }}
backups:
  shop: {{ kind: file, path: shop.db, restore: sqlite, tables: {{ people: 1 }} }}
schedules:
  nightly: {{ cron: "0 3 * * *", handler: "backup:shop" }}
"""
PLAN = """
plan: customer
subject:
  user_id: shop.people.id
  email: { column: shop.people.email, ignore_case: true }
connections:
  shop:
    people: { erase: delete, rectify: [email, name] }
    visits: { match: { person_id: people.id }, erase: delete }
"""
PEOPLE = 20_000


def prepare(folder, port, secret, binary):
    (folder / "plans").mkdir()
    (folder / "plans/customer.yaml").write_text(PLAN)
    (folder / "rightful.yaml").write_text(CONFIG.format(port=port, secret=secret))
    subprocess.run([binary, "keygen", "hostile.test/audit", "--out", "evidence_key"], cwd=folder, check=True, stdout=subprocess.DEVNULL)
    shop = sqlite3.connect(folder / "shop.db")
    shop.executescript(
        """PRAGMA journal_mode = wal;
        CREATE TABLE people (id integer PRIMARY KEY, email text NOT NULL, name text);
        CREATE TABLE visits (id integer PRIMARY KEY, person_id integer NOT NULL REFERENCES people (id), at text NOT NULL);
        CREATE INDEX visits_person ON visits (person_id);"""
    )
    shop.executemany("INSERT INTO people VALUES (?, ?, ?)", ((n, f"p{n}@example.com", f"n{n}") for n in range(1, PEOPLE)))
    shop.executemany(
        "INSERT INTO visits VALUES (?, ?, '2026-01-01 00:00:00')", ((n, 1 + n % (PEOPLE - 1)) for n in range(1, PEOPLE))
    )
    shop.commit()
    shop.close()


class Service:
    def __init__(self, base, token):
        self.base, self.token = base, token

    def call(self, method, path, body=None):
        data = None if body is None else json.dumps(body).encode()
        headers = {"authorization": f"Bearer {self.token}", "content-type": "application/json"}
        request = urllib.request.Request(self.base + path, data, headers, method=method)
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as refused:
            sys.exit(f"{method} {path}: {refused.read().decode()}")

    def submit(self, kind, person, **more):
        body = {"kind": kind, "plan": "customer", "subject": {"user_id": person}, **more}
        return self.call("POST", "/v1/requests", body)["id"]

    def wait_ready(self):
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            try:
                with urllib.request.urlopen(self.base + "/readyz", timeout=5):
                    return
            except OSError:
                time.sleep(0.1)
        sys.exit("the service is not ready")


def with_what_is_there(description, ids):
    """The description with the names and ids of this service in place of any text."""
    names = {"/v1/backups/": "shop", "/v1/retention/": "old_visits", "/v1/schedules/": "nightly"}
    for path, item in description["paths"].items():
        for operation in item.values():
            for parameter in operation.get("parameters", []):
                if parameter["in"] != "path":
                    continue
                kind = next((kind for kind in ids if path.startswith(f"/v1/{kind}/")), None)
                name = next((name for prefix, name in names.items() if path.startswith(prefix)), None)
                if parameter["name"] == "id" and kind:
                    parameter["schema"]["enum"] = ids[kind]
                elif parameter["name"] == "plan":
                    parameter["schema"]["enum"] = ["customer"]
                elif parameter["name"] == "name" and name:
                    parameter["schema"]["enum"] = [name]
    operations = [operation for item in description["paths"].values() for operation in item.values()]
    bodies = [operation["requestBody"]["content"]["application/json"]["schema"] for operation in operations if "requestBody" in operation]
    for body in bodies:
        schema = next(part for part in body.get("oneOf", [body]) if "$ref" in part)["$ref"].rpartition("/")[2]
        properties = description["components"]["schemas"][schema].get("properties", {})
        if "plan" in properties:
            properties["plan"] = {"type": "string", "enum": ["customer"]}
        if "subject" in properties:
            properties["subject"] = {
                "type": "object",
                "minProperties": 1,
                "additionalProperties": False,
                "properties": {"user_id": {"type": "integer", "minimum": 100, "maximum": 2 * PEOPLE}, "email": {"type": "string"}},
            }
    return description


def attack(folder, service, description, examples):
    file = folder / "description.yaml"
    file.write_text(yaml.safe_dump(description))
    command = [Path(sys.executable).with_name("schemathesis"), "run", file, "--url", service.base]
    command += ["-H", f"Authorization: Bearer {service.token}", "--max-examples", examples, "--seed", "1"]
    command += ["--checks", "all", "--exclude-checks", "positive_data_acceptance", "--request-timeout", "70", "--warnings", "off"]
    done = subprocess.run([str(part) for part in command], cwd=folder, capture_output=True, text=True)
    if done.returncode != 0:
        print(done.stdout[-20_000:], done.stderr[-2_000:])
        sys.exit("schemathesis found what it was looking for")
    print(next(line.strip() for line in done.stdout.splitlines() if "generated" in line))


def main():
    binary, examples = os.path.abspath(sys.argv[1]), sys.argv[2] if len(sys.argv) > 2 else "25"
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        prepare(folder, port, os.urandom(32).hex(), binary)
        roles = ["--role", "admin", "--role", "approver", "--role", "auditor"]
        token = subprocess.run([binary, "token", *roles, "--subject", "mallory"], cwd=folder, check=True, capture_output=True, text=True)
        log = open(folder / "log", "w")
        server = subprocess.Popen([binary, "serve"], cwd=folder, stdout=log, stderr=log)
        try:
            service = Service(f"http://127.0.0.1:{port}", token.stdout.split()[-1])
            service.wait_ready()
            requests = [service.submit("erasure", 1), service.submit("export", 2), service.submit("erasure", 10 * PEOPLE)]
            requests += [service.submit("rectification", person, changes={"shop.people": {"name": "x"}}) for person in (3, 4)]
            body = {"plan": "customer", "subject": {"user_id": 5}, "ground": "legal_claims", "reason": "a lawsuit", "scope": "plan"}
            ids = {"requests": requests, "holds": [service.call("POST", "/v1/holds", body)["id"]]}
            ids["runs"] = [service.call("POST", "/v1/backups/shop/verify")["id"]]
            with urllib.request.urlopen(service.base + "/openapi.yaml", timeout=30) as answer:
                description = yaml.safe_load(answer)
            attack(folder, service, description, examples)
            attack(folder, service, with_what_is_there(description, ids), examples)
            service.wait_ready()
            verdict = service.call("GET", "/v1/audit/verify")
            if not verdict["ok"]:
                sys.exit(f"the log does not verify: {verdict}")
        finally:
            server.send_signal(signal.SIGTERM)
            server.wait(30)
            log.close()
        told = [line for line in (folder / "log").read_text().splitlines() if "internal error" in line or "panicked" in line]
        if told:
            sys.exit("\n".join(told[:20]))
    print("no server error, nothing other than described")


if __name__ == "__main__":
    main()
