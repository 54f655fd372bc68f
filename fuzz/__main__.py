"""``python -m fuzz``."""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

from fuzz import corpus
from fuzz.minimise import minimised
from fuzz.seeds import seeds
from fuzz.targets import TARGETS

INTERRUPTED = 130  # what a shell reports for a command ended by SIGINT


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m fuzz", description="Fuzz the wire layer.")
    parser.add_argument("target", choices=TARGETS, help="what to try")
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--seconds", type=int, default=60, help="how long to try; default 60")
    what.add_argument("--replay", type=Path, nargs="+", metavar="FILE", help="try these and stop")
    what.add_argument("--add", type=Path, metavar="FILE", help="keep an input for good, see --why")
    parser.add_argument("--why", metavar="TEXT", help="what was wrong with the input of --add")
    parser.add_argument(
        "--grow", action="store_true", help="keep what reaches something new in fuzz/corpus"
    )
    parser.add_argument(
        "--max-len", type=int, default=512, help="longest input made, bytes; default 512"
    )
    parser.add_argument(
        "--crashes", type=Path, default=Path(), help="where to write what fails; default here"
    )
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a target.

    Returns:
        The exit status: 0, or 1 when an input failed or atheris is missing.
    """
    parser = build_parser()
    options = parser.parse_args(arguments)
    if options.replay:
        for path in options.replay:
            TARGETS[options.target](path.read_bytes())
        return 0
    if options.add:
        if not options.why:
            parser.error("--add wants --why")
        corpus.add(options.target, options.add.read_bytes(), options.why)
        return 0
    if find_spec("atheris") is None:
        print("atheris is not installed: pip install 'foreman-server[fuzz]'", file=sys.stderr)
        return 1
    with tempfile.TemporaryDirectory() as directory:
        return _fuzz(options, Path(directory))


def _fuzz(options: argparse.Namespace, directory: Path) -> int:
    given = seeds(options.target)
    kept = corpus.read(options.target)
    for number, data in enumerate([*given, *kept]):
        if len(data) <= corpus.LONGEST:
            directory.joinpath(f"{number:04}").write_bytes(data)
    options.crashes.mkdir(parents=True, exist_ok=True)
    command = [
        *(sys.executable, "-m", "fuzz.engine", options.target),
        f"-max_total_time={options.seconds}",
        f"-max_len={options.max_len}",
        "-timeout=10",
        "-print_final_stats=1",
        f"-artifact_prefix={options.crashes}/{options.target}-",
        str(directory),
    ]
    try:
        status = subprocess.run(command, check=False).returncode
    except KeyboardInterrupt:
        return INTERRUPTED
    if status:
        print(
            f"{options.target}: an input failed; it is in the file named above. Mend it, then keep"
            f" it: python -m fuzz {options.target} --add FILE --why TEXT",
            file=sys.stderr,
        )
        return 1
    if options.grow:
        found = [path.read_bytes() for path in sorted(directory.iterdir())]
        chosen = minimised(options.target, set(found) | set(kept), given)
        corpus.write(options.target, chosen)
        print(f"{options.target}: {len(chosen)} inputs kept, of {len(found)} seen")
    return 0


if __name__ == "__main__":
    sys.exit(main())
