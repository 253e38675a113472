"""`moonshot completion`: what a shell has to load to complete commands and options."""

from typing import Final

import click
from click.shell_completion import get_completion_class

from moonshot_async.cli.options import command, pass_state
from moonshot_async.cli.state import State

_SHELLS: Final = ("bash", "zsh", "fish")


_HOW: Final = """\b
bash: put into ~/.bashrc: eval "$(moonshot completion bash)"
zsh:  put into ~/.zshrc:  eval "$(moonshot completion zsh)"
fish: moonshot completion fish > ~/.config/fish/completions/moonshot.fish
"""


@command(epilog=_HOW)
@click.argument("shell", type=click.Choice(_SHELLS))
@pass_state
def completion(state: State, shell: str) -> None:
    """Print the completions for a shell."""
    from moonshot_async.cli.app import COMPLETE_VARIABLE, PROGRAM, moonshot

    kind = get_completion_class(shell)
    assert kind is not None, "click knows these shells"
    # Not source(): it would run bash to ask for its version, on machines that have none, too.
    made = kind(moonshot, {}, PROGRAM, COMPLETE_VARIABLE)
    script = made.source_template % made.source_vars()
    if state.json:
        state.output.document({"shell": shell, "script": script})
    else:
        state.output.text(script)
