"""The command line: `moonshot`, or `python -m moonshot_async`. It needs the extra `cli`.

    app.py        the group of all commands; only the one that is called is imported
    options.py    what every command takes: --json, --offline, --region, …
    state.py      what a command works with: a client, the output, an event loop
    output.py     text, tables and JSON on stdout; notes and progress on stderr
    endings.py    what went wrong → one sentence and an exit code
    offline.py    a client of the embedded service

Nothing heavy is imported before it is needed: `moonshot --help` loads neither client nor HTTP.
"""

import sys
from typing import NoReturn

# What the extra brings.
EXTRA = ("click", "markdown_it", "prompt_toolkit", "rich")


def main() -> NoReturn:
    """Run the command that the program was called with, and end with its exit code."""
    try:
        from moonshot_async.cli.app import moonshot
    except ModuleNotFoundError as error:
        if error.name not in EXTRA:
            raise
        print("moonshot: the command line needs more packages: pip install 'moonshot-async[cli]'", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(130)
    moonshot.main()
