"""`mkt completion`: the script by which a shell completes commands, options and files."""

import click
from click.shell_completion import get_completion_class

from mkt_search.errors import ConfigError

SHELLS = ("bash", "zsh", "fish")
VARIABLE = "_MKT_COMPLETE"
"""What the script sets when it calls `mkt` for completions; click derives it from the name."""


@click.command(short_help="Print the completion script of a shell.")
@click.argument("shell", type=click.Choice(SHELLS))
@click.pass_context
def completion(ctx: click.Context, shell: str) -> None:
    """Print a script that makes a shell complete commands, options and files of mkt.

    Write it where the shell looks for it, and open a new terminal.

    \b
    Bash 4.4 or newer, with the package bash-completion:
      mkt completion bash > ~/.local/share/bash-completion/completions/mkt
    Bash without it, in ~/.bashrc:
      eval "$(mkt completion bash)"
    Zsh, in ~/.zshrc after compinit:
      eval "$(mkt completion zsh)"
    Fish:
      mkt completion fish > ~/.config/fish/completions/mkt.fish
    """
    kind = get_completion_class(shell)
    if kind is None:
        raise ConfigError(f"This version of click has no completion for {shell}; upgrade click.")
    click.echo(kind(ctx.find_root().command, {}, "mkt", VARIABLE).source())
