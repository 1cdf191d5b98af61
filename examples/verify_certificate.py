#!/usr/bin/env python3
"""Verifies a certificate of Rightful with nothing but Python's standard library, so that whoever was handed one need not
trust the program that made it: read this file, it is all there is.

    python3 verify_certificate.py certificate.json KEY...        ("-" for the file: standard input)

KEY is the public key that the log's owner has published, as `rightful keygen` prints it: NAME+ID+KEY.
"""

import base64
import hashlib
import json
import sys
import unicodedata

EVENT = ("id stream seq at event request_id subject_ref actor step action rows details prev_hash hash").split()


class Refused(Exception):
    """The first thing that is not as it must be."""


def require(condition, what):
    if not condition:
        raise Refused(what)


# --- Reading: only what every reader of JSON reads in the same way.

def once(members):
    require(len(dict(members)) == len(members), "json: an object names a member twice")
    return dict(members)


def whole(text):
    require(text != "-0" and len(text) <= 17 and abs(int(text)) < 2**53, "json: a number that floats do not hold")
    return int(text)


def no_float(text):
    raise Refused("json: a number that is not whole")


def read(data):
    require(len(data) <= 16 * 1024 * 1024, "too_large: it has more than 16 MiB")
    try:
        text = data.decode("utf-8")
        parsed = json.loads(text, object_pairs_hook=once, parse_int=whole, parse_float=no_float, parse_constant=no_float)
        canonical(parsed)
    except (ValueError, RecursionError) as error:
        raise Refused(f"json: {error}") from None
    return parsed


def canonical(value):
    """RFC 8785, for values without floats: members sorted as UTF-16, and nothing between them."""
    if isinstance(value, dict):
        names = sorted(value, key=lambda name: name.encode("utf-16-be"))
        return b"{" + b",".join(canonical(name) + b":" + canonical(value[name]) for name in names) + b"}"
    if isinstance(value, list):
        return b"[" + b",".join(map(canonical, value)) + b"]"
    return json.dumps(value, ensure_ascii=False).encode("utf-8")


def unbase64(text):
    try:
        data = base64.b64decode(text.encode("ascii"), validate=True)
    except ValueError:
        return None
    return data if base64.b64encode(data).decode() == text else None


def number(text):
    """As the formats of logs write it: one number has one form."""
    good = text.isascii() and text.isdigit() and len(text) <= 20 and str(int(text)) == text
    return int(text) if good and int(text) < 2**64 else None


def sha256(data):
    return hashlib.sha256(data).digest()


# --- Ed25519 (RFC 8032, section 5.1), with points as X, Y, Z, T.

P = 2**255 - 19
ORDER = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, -1, P) % P
ROOT = pow(2, (P - 1) // 4, P)


def add(a, b):
    e, f = (a[1] - a[0]) * (b[1] - b[0]) % P, (a[1] + a[0]) * (b[1] + b[0]) % P
    g, h = 2 * a[3] * b[3] * D % P, 2 * a[2] * b[2] % P
    e, f, g, h = f - e, h - g, h + g, f + e
    return e * f % P, g * h % P, f * g % P, e * h % P


def times(number, point):
    result = (0, 1, 1, 0)
    while number:
        if number & 1:
            result = add(result, point)
        point, number = add(point, point), number >> 1
    return result


def point(data):
    y, sign = int.from_bytes(data, "little") & (2**255 - 1), data[31] >> 7
    square = (y * y - 1) * pow(D * y * y + 1, -1, P) % P
    x = pow(square, (P + 3) // 8, P)
    if (x * x - square) % P:
        x = x * ROOT % P
    if y >= P or (x * x - square) % P or (x == 0 and sign):
        return None
    x = P - x if x & 1 != sign else x
    return x, y, 1, x * y % P


BASE = point((4 * pow(5, -1, P) % P).to_bytes(32, "little"))


def is_signed(key, text, signature):
    if len(signature) != 64:
        return False
    a, r, s = point(key), point(signature[:32]), int.from_bytes(signature[32:], "little")
    if not a or not r or s >= ORDER:
        return False
    h = int.from_bytes(hashlib.sha512(signature[:32] + key + text).digest(), "little") % ORDER
    left, right = times(s, BASE), add(r, times(h, a))
    return all((left[i] * right[2] - right[i] * left[2]) % P == 0 for i in (0, 1))


# --- The log: keys and checkpoints (C2SP signed-note, tlog-checkpoint), proofs (C2SP tlog-proof, RFC 9162, 2.1.3.2).

def public_key(text):
    name, _, rest = text.strip().partition("+")
    identity, _, key = rest.partition("+")
    data = unbase64(key)
    good = name and data and len(data) == 33 and data[0] == 1
    require(good and sha256(name.encode() + b"\n" + data)[:4].hex() == identity, f"no public key: {text}")
    return name, data


def signatures(lines):
    for line in lines:
        name, _, signature = line[2:].partition(" ")
        data = unbase64(signature)
        require(line[:2] == "\u2014 " and name and data and len(data) > 4, "proof: a line is no signature")
        yield name, data


def tree_head(note, keys):
    head, _, tail = note.partition("\n\n")
    require(head and note.endswith("\n"), "proof: the checkpoint is no signed note")
    require(not any(unicodedata.category(c) == "Cc" for c in note.replace("\n", "")), "proof: it holds control characters")
    signed = list(signatures(tail[:-1].split("\n")))
    require(len(signed) <= 100, "proof: more signatures than anybody needs")
    text, lines = head + "\n", head.split("\n")
    require(len(lines) > 2 and lines[0], "checkpoint: it is none")
    origin, size, root = lines[0], number(lines[1]), unbase64(lines[2])
    require(size is not None and root and len(root) == 32, "checkpoint: it is none")
    for name, key in keys:
        own = sha256(name.encode() + b"\n" + key)[:4]
        for signer, data in signed:
            if name == signer == origin and data[:4] == own and is_signed(key[1:], text.encode(), data[4:]):
                return origin, size, root
    raise Refused("checkpoint: no given key has signed it")


def parts(proof):
    lines, _, note = proof.partition("\n\n")
    lines = lines.split("\n")
    good = len(lines) > 1 and lines[0] == "c2sp.org/tlog-proof@v1" and lines[1].startswith("index ")
    index = number(lines[1][6:]) if good else None
    require(index is not None, "proof: it is none")
    hashes = [unbase64(line) for line in lines[2:]]
    require(len(hashes) <= 64 and all(h and len(h) == 32 for h in hashes), "proof: a hash in it is none")
    return index, hashes, note


def root_of(leaf, index, size, hashes):
    require(index < size, "inclusion: the log has no such entry")
    node, last = index, size - 1
    for beside in hashes:
        require(last, "inclusion: the proof is too long")
        if node & 1 or node == last:
            leaf = sha256(b"\x01" + beside + leaf)
            while node and not node & 1:
                node, last = node >> 1, last >> 1
        else:
            leaf = sha256(b"\x01" + leaf + beside)
        node, last = node >> 1, last >> 1
    require(last == 0, "inclusion: the proof is too short")
    return leaf


# --- The certificate.

def verify(data, keys):
    """What is certified, and by which entry of which log; `keys` as `public_key` reads them. Raises `Refused`."""
    certificate = read(data)
    names = isinstance(certificate, dict) and sorted(certificate)
    require(names == ["event", "format", "proof", "statement"], "form: it is no certificate")
    statement, event, proof = certificate["statement"], certificate["event"], certificate["proof"]
    sound = isinstance(statement, dict) and isinstance(event, dict) and isinstance(proof, str)
    require(sound and certificate["format"] == "rightful-certificate/1", "form: it is no certificate of this form")
    details = event.get("details")
    require(sorted(event) == sorted(EVENT) and isinstance(details, dict), "form: the event is none")
    stated = sha256(canonical(statement)).hex()
    require(details.get("statement") == stated, "statement: it is not the one that the event was made with")
    before = event["prev_hash"]
    good = isinstance(before, str) and len(before) == 64 and set(before) <= set("0123456789abcdef")
    body = {name: event[name] for name in event if name not in ("prev_hash", "hash")}
    require(good and sha256(bytes.fromhex(before) + canonical(body)).hex() == event["hash"], "event: not what was hashed")
    ends = {status: "request." + status for status in ("completed", "failed", "denied", "cancelled")}
    request, end, outcome = (statement.get(name) for name in ("request_id", "status", "outcome"))
    good = isinstance(end, str) and event["event"] == ends.get(end) and details.get("outcome") == outcome
    good = good and event["request_id"] == request and event["stream"] == f"request:{request}"
    require(good and isinstance(outcome, str), "other_event: it did not end this request")
    index, hashes, note = parts(proof)
    origin, size, root = tree_head(note, keys)
    leaf = sha256(b"\x00" + bytes.fromhex(event["hash"]))
    require(root_of(leaf, index, size, hashes) == root, "inclusion: the proof does not lead to the log's root")
    return statement, f"entry {index} of the {size} in the log {origin}"


def main():
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    file = sys.stdin.buffer if sys.argv[1] == "-" else open(sys.argv[1], "rb")
    with file:
        data = file.read(16 * 1024 * 1024 + 1)
    try:
        statement, place = verify(data, [public_key(key) for key in sys.argv[2:]])
    except Refused as why:
        sys.exit(f"refused: {why}")
    # As ASCII: nothing from the certificate must move the cursor.
    print(ascii(f"certified: {statement['kind']} {statement['request_id']} is {statement['status']} ({statement['outcome']})")[1:-1])
    for step in statement["steps"]:
        rows = step["rows"]
        print(ascii(f"{step['name']} {step['action']}: {rows['affected']} rows done, {rows['withheld']} withheld")[1:-1])
    print("proved by", ascii(place)[1:-1])


if __name__ == "__main__":
    main()
