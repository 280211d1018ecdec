"""`mkt man`: the manual page, made from the help of all commands."""

import re
from collections.abc import Iterable, Iterator

import click

CODE = re.compile(r"`([^`]+)`")


@click.command(short_help="Print the manual page.")
@click.pass_context
def man(ctx: click.Context) -> None:
    """Print the manual page of all commands, for the program man.

    \b
    Examples:
      mkt man | man -l -
      mkt man > ~/.local/share/man/man1/mkt.1
    """
    program = ctx.find_root().command
    root, page = click.Context(program, info_name="mkt"), ManFormatter()
    page.write('.TH MKT 1 "" "MKT search" "User Commands"\n.SH NAME\n')
    page.write(f"mkt \\- {_escaped(program.get_short_help_str(limit=100))}\n.SH SYNOPSIS\n")
    program.format_usage(root, page)
    page.write(".SH DESCRIPTION\n")
    program.format_help_text(root, page)
    program.format_options(root, page)
    for command in _below(root):
        page.write(f".SH {_escaped(command.command_path.upper())}\n")
        command.command.format_help(command, page)
    click.echo(page.getvalue(), nl=False)


class ManFormatter(click.HelpFormatter):
    """Writes the help of a command in the macros of man(7)."""

    def write_usage(self, prog: str, args: str = "", prefix: str | None = None) -> None:
        """Write the name of the command in bold, and its arguments."""
        self.write(f"\\fB{_escaped(prog)}\\fR {_escaped(args)}\n")

    def write_paragraph(self) -> None:
        """Write nothing: every macro begins a paragraph of its own."""

    def write_heading(self, heading: str) -> None:
        """Write a heading inside of the section of the command."""
        self.write(f".SS {_escaped(heading)}\n")

    def write_text(self, text: str) -> None:
        """Write paragraphs; one that begins with \\b keeps its lines."""
        for paragraph in re.split(r"\n\s*\n", text.strip("\n")):
            lines = [_escaped(line) for line in paragraph.splitlines()]
            is_kept = paragraph.startswith("\b")
            words = ["\n".join(lines[1:])] if is_kept else [" ".join(map(str.strip, lines))]
            self.write("\n".join([".PP", *((".nf", *words, ".fi") if is_kept else words)]) + "\n")

    def write_dl(
        self, rows: Iterable[tuple[str, str]], col_max: int = 30, col_spacing: int = 2
    ) -> None:
        """Write terms with their meaning, without the help that every command has."""
        for term, meaning in rows:
            if not term.endswith("--help"):
                self.write(f".TP\n\\fB{_escaped(term)}\\fR\n{_escaped(meaning)}\n")


def _below(above: click.Context) -> Iterator[click.Context]:
    """Yield the commands of a group, each followed by those below it."""
    if isinstance(above.command, click.Group):
        for name in above.command.list_commands(above):
            command = above.command.get_command(above, name)
            if command is not None and not command.hidden:
                context = click.Context(command, info_name=name, parent=above)
                yield context
                yield from _below(context)


def _escaped(text: str) -> str:
    """Return text in which roff finds no macro; what was between backquotes is bold."""
    text = text.replace("\\", "\\e").replace("-", "\\-").replace("'", "\\(aq")
    text = CODE.sub(r"\\fB\1\\fR", text)
    return f"\\&{text}" if text.startswith(".") else text
