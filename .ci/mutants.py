#!/usr/bin/env python3
"""Plants the bugs of mutants.txt, one at a time, and expects a test to fail for each.

    python3 .ci/mutants.py                        all of them
    python3 .ci/mutants.py save-forgets-epoch …   these
    python3 .ci/mutants.py --list                 their names, and what each would do to a user

They are planted in a checkout of the last commit below the target directory (`--target-dir`, default target/mutants).
A build takes minutes, so all bugs go into one: each sleeps behind `if crate::planted("its name")` until the variable
PLANTED names it. A bug that changes a type cannot sleep, and is built alone, after the others. First the tests run while
all of them sleep: one that fails by itself would prove nothing. The tests need the databases that `cargo test` needs.

The list is made of blocks of lines `key: text`, a bug each:

    mutant  its name
    file    where
    line    an expression, or whole statements up to a semicolon, which occurs there once (tests/it/mutants.rs looks)
    put     what a hasty hand would have written instead, of the same type; empty where a statement is left out
    test    `lib` or `it`, and a filter of test names as cargo takes them
    harm    what the bug would do to a user
    alone   why it cannot sleep; for the others there is no such line

The exit code is 0 where every bug was found, 1 where one survived or could not be tried. CARGO names another cargo.
"""

import argparse
import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
KEYS = ["mutant", "file", "line", "put", "test", "harm"]
SWITCH = """
#[must_use]
pub fn planted(mutant: &str) -> bool {
    std::env::var("PLANTED").is_ok_and(|planted| planted == mutant)
}
"""
# In seconds. Tests that hang have failed as well.
PATIENCE = 300


class Trouble(Exception):
    pass


def read(path):
    mutants = []
    for block in path.read_text().split("\n\n"):
        lines = [line for line in block.splitlines() if not line.startswith("#")]
        pairs = [[part.strip() for part in line.split(":", 1)] for line in lines]
        keys = [pair[0] for pair in pairs]
        if keys and keys not in (KEYS, [*KEYS, "alone"]):
            raise Trouble(f"mutants.txt: a block has the lines {', '.join(KEYS)} in this order, and not {keys}")
        if keys:
            mutants.append(dict(pairs))
    return mutants


def asleep(mutant):
    """The line with the bug behind the switch."""
    line, put = mutant["line"], mutant["put"]
    switched = f'if crate::planted("{mutant["mutant"]}") {{ {put} }} else {{ {line} }}'
    return switched if line.endswith(";") else f"({switched})"


class Checkout:
    """The last commit, and the tests of it."""

    def __init__(self, target):
        self.target = target.resolve()
        self.root = self.target / "checkout"
        self.cargo = shlex.split(os.environ.get("CARGO", "cargo"))

    def __enter__(self):
        self.remove()
        self.target.mkdir(parents=True, exist_ok=True)
        self.git("worktree", "add", "--quiet", "--force", "--detach", str(self.root), "HEAD")
        return self

    def __exit__(self, *_):
        self.remove()

    def remove(self):
        if self.root.exists():
            self.git("worktree", "remove", "--force", str(self.root))

    def git(self, *arguments):
        subprocess.run(["git", "-C", str(ROOT), *arguments], check=True)

    def replace(self, mutant, by):
        path = self.root / mutant["file"]
        text = path.read_text()
        found = text.count(mutant["line"])
        if found != 1:
            raise Trouble(f"{mutant['mutant']}: {mutant['file']} holds its line {found} times")
        path.write_text(text.replace(mutant["line"], by))
        return text

    def build(self, binary):
        """The executable of the tests."""
        which = ["--lib"] if binary == "lib" else ["--test", binary]
        command = [*self.cargo, "test", "--locked", "--target-dir", str(self.target), *which, "--no-run"]
        built = subprocess.run([*command, "--message-format=json"], cwd=self.root, text=True, capture_output=True)
        messages = [json.loads(line) for line in built.stdout.splitlines()]
        if built.returncode != 0:
            errors = [message["message"]["rendered"] for message in messages
                      if message["reason"] == "compiler-message" and message["message"]["level"] == "error"]
            raise Trouble("it does not compile:\n" + "\n".join(errors or [built.stderr]))
        return next(message["executable"] for message in reversed(messages)
                    if message["reason"] == "compiler-artifact" and message["profile"]["test"])

    def test(self, executable, mutant, planted):
        """The exit code, None where the tests do not end; and what they printed."""
        # A database that cannot be reached is a failure, not a test left out.
        environment = {**os.environ, "CI": "true", "PLANTED": planted}
        tests = subprocess.Popen([executable, mutant["test"].split()[1]], cwd=self.root, env=environment, text=True,
                                 stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True)
        try:
            printed, _ = tests.communicate(timeout=PATIENCE)
            return tests.returncode, printed
        except subprocess.TimeoutExpired:
            os.killpg(tests.pid, signal.SIGKILL)
            return None, tests.communicate()[0]


def without_any(checkout, executable, mutants):
    """Those of them whose tests pass while all bugs sleep."""
    verdicts = {}
    for mutant in mutants:
        test = mutant["test"]
        if test not in verdicts:
            code, printed = checkout.test(executable, mutant, "")
            verdicts[test] = code == 0 and re.search(r"[1-9]\d* passed", printed) is not None
            if not verdicts[test]:
                print(f"does not pass, or is none, without any bug: {test}\n{printed}", flush=True)
    return [mutant for mutant in mutants if verdicts[mutant["test"]]]


def tried(checkout, executable, mutant):
    """True where a test has failed for it."""
    begun = time.monotonic()
    code, printed = checkout.test(executable, mutant, mutant["mutant"])
    failed = re.findall(r"^---- (\S+) stdout ----$", printed, re.MULTILINE)
    by = ", ".join(failed) if code is not None else f"tests that did not end in {PATIENCE} s"
    is_found = code is None or bool(failed)
    verdict = "found" if is_found else "SURVIVED" if code == 0 else "ERROR"
    print(f"{verdict:8} {time.monotonic() - begun:4.0f} s  {mutant['mutant']:26} {by}", flush=True)
    if verdict == "ERROR":
        print(printed)
    return is_found


def carry_out(checkout, mutants):
    """How many were found."""
    found = 0
    sleeping = [mutant for mutant in mutants if "alone" not in mutant]
    with open(checkout.root / "src" / "lib.rs", "a") as library:
        library.write(SWITCH)
    for mutant in sleeping:
        checkout.replace(mutant, asleep(mutant))
    for binary in ("lib", "it"):
        own = [mutant for mutant in mutants if mutant["test"].split()[0] == binary]
        if not own:
            continue
        executable = checkout.build(binary)
        sound = without_any(checkout, executable, own)
        found += sum(tried(checkout, executable, mutant) for mutant in sound if "alone" not in mutant)
        for mutant in [mutant for mutant in sound if "alone" in mutant]:
            before = checkout.replace(mutant, mutant["put"])
            executable = checkout.build(binary)
            found += tried(checkout, executable, mutant)
            (checkout.root / mutant["file"]).write_text(before)
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", help="mutants to plant, default all")
    parser.add_argument("--target-dir", type=Path, default=ROOT / "target" / "mutants")
    parser.add_argument("--list", action="store_true", help="plant nothing, say what there is")
    options = parser.parse_args()
    mutants = read(ROOT / ".ci" / "mutants.txt")
    unknown = set(options.names) - {mutant["mutant"] for mutant in mutants}
    if unknown:
        raise Trouble(f"mutants.txt has no {', '.join(sorted(unknown))}")
    mutants = [mutant for mutant in mutants if not options.names or mutant["mutant"] in options.names]
    if options.list:
        for mutant in mutants:
            print(f"{mutant['mutant']:26} {mutant['harm']}")
        return 0
    with Checkout(options.target_dir) as checkout:
        found = carry_out(checkout, mutants)
    print(f"{found} of {len(mutants)} found")
    return 0 if found == len(mutants) else 1


if __name__ == "__main__":
    try:
        sys.exit(main())
    except Trouble as trouble:
        sys.exit(str(trouble))
