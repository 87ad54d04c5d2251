"""Compares what a run of ceph/s3-tests reported (JUnit XML) with the committed list of tests that do not pass.

Prints what passes although it is listed and what does not although it is not, and last how many passed. The exit code is 0
only where nothing fails that is not listed and, after a run of everything, nothing is listed that passes or is no test. A test
that leaves something behind that the suite cannot clean up fails; one whose reason begins with "varies: " may pass.
"""

import collections
import re
import sys
import xml.etree.ElementTree


def outcomes(report):
    """Name of every test -> None where it passed, else how it failed in one line."""
    found = collections.OrderedDict()
    for case in xml.etree.ElementTree.parse(report).iter("testcase"):
        name = case.get("name")
        found.setdefault(name, None)
        for kind in ("failure", "error", "skipped"):
            for element in case.findall(kind):
                lines = (element.get("message") or "").strip().splitlines()
                if found[name] is None:
                    found[name] = f"{kind}: {lines[0][:160] if lines else 'no message'}"
    return found


def per_file(report, failing):
    """File of tests -> how many passed, of how many."""
    counts = collections.OrderedDict()
    seen = set()
    for case in xml.etree.ElementTree.parse(report).iter("testcase"):
        name, file = case.get("name"), case.get("classname", "").rsplit(".", 1)[-1]
        if name not in seen:
            seen.add(name)
            passed, of = counts.get(file, (0, 0))
            counts[file] = (passed + (name not in failing), of + 1)
    return counts


def listed(path):
    """Name of every listed test -> the reason it does not pass."""
    reasons = collections.OrderedDict()
    with open(path, encoding="utf-8") as file:
        for number, line in enumerate(file, 1):
            line = line.rstrip("\n")
            if not line or line.startswith("#"):
                continue
            name, _, reason = line.partition("\t")
            if not reason.strip() or name in reasons:
                sys.exit(f"{path}:{number}: a test name, a tab and a reason, each test once")
            reasons[name] = reason
    return reasons


def main(report, reasons_file, ran_all):
    found, reasons = outcomes(report), listed(reasons_file)
    if not found:
        sys.exit("no test ran")
    failing = {name: why for name, why in found.items() if why is not None}
    passed = len(found) - len(failing)
    unlisted = [name for name in failing if name not in reasons]
    varies = {name for name, reason in reasons.items() if reason.startswith("varies: ")}
    now_passing = [name for name in reasons if name in found and name not in failing and name not in varies]
    gone = [name for name in reasons if name not in found] if ran_all else []
    for title, names in (
        ("listed, but passes now", now_passing),
        ("listed, but is not in the suite", gone),
        ("does not pass and is not listed", unlisted),
    ):
        for name in names:
            print(f"{title}: {name}" + (f" ({failing[name]})" if name in failing else ""))
    groups = collections.Counter(re.sub(r" \(.*", "", reasons[name]) for name in failing if name in reasons)
    for reason, count in sorted(groups.items(), key=lambda entry: (-entry[1], entry[0])):
        print(f"{count:4d} not passing: {reason}")
    for file, outcome in per_file(report, failing).items():
        print(f"{outcome[0]:4d} of {outcome[1]} passed: {file}")
    print(f"conformance: {passed} passed, {len(failing)} failed of {len(found)}")
    stale = ran_all and (now_passing or gone)
    return 1 if unlisted or stale else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2], sys.argv[3] == "all"))
