"""What the programs for client libraries in Python share: the command line, the walk over a tree, the size of parts."""

import json
import pathlib
import sys

PART_BYTES = 5 << 20


def walk(directory):
    """Files below a directory, with their keys."""
    root = pathlib.Path(directory)
    return [(path, path.relative_to(root).as_posix()) for path in sorted(root.rglob("*")) if path.is_file()]


def run(functions):
    """Runs the function that the command line names (`make-bucket` is `make_bucket`) and prints its answer."""
    command, *arguments = sys.argv[1:]
    name = {"list": "list_objects", "range": "read_range"}.get(command, command.replace("-", "_"))
    print(json.dumps(functions[name](*arguments)))
