"""Blocks as HTML, for notebooks. Colours follow the theme of Jupyter or VS Code."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from icechunk._display.blocks import Block

__all__ = ["html"]

_STYLE = """\
<style>
.icechunk-repr {
    --ic-text: var(--jp-content-font-color0, var(--vscode-editor-foreground, currentColor));
    --ic-muted: var(--jp-content-font-color2, color-mix(in srgb, var(--ic-text) 60%, transparent));
    --ic-line: var(--jp-border-color2, color-mix(in srgb, var(--ic-text) 20%, transparent));
    --ic-nested: var(--jp-layout-color2, color-mix(in srgb, var(--ic-text) 5%, transparent));
    color: var(--ic-text);
    line-height: 1.5;
    max-width: 50em;
    overflow-wrap: anywhere;
}
.icechunk-repr .icechunk-header { border-bottom: 1px solid var(--ic-line); font-weight: 600; }
.icechunk-repr .icechunk-field-name { color: var(--ic-muted); }
.icechunk-repr .icechunk-field-value { white-space: pre-wrap; }
.icechunk-repr .icechunk-lines { display: block; margin-left: 1em; }
.icechunk-repr summary { cursor: pointer; }
.icechunk-repr details > .icechunk-repr {
    background: var(--ic-nested);
    margin: 0.25em 0 0.25em 1em;
    padding: 0.25em 0.75em;
}
</style>
"""


def html(block: Block) -> str:
    """Show a block as a panel; blocks inside it can be folded out."""
    return f"{_STYLE}{_panel(block)}\n"


def _panel(block: Block) -> str:
    lines = ['<div class="icechunk-repr">']
    if block.title is not None:
        lines.append(f'  <div class="icechunk-header">{_escaped(block.title)}</div>')
    for name, value in block.fields:
        if isinstance(value, str):
            form = "icechunk-field-value icechunk-lines" if "\n" in value else "icechunk-field-value"
            lines.append(
                f'  <div class="icechunk-field"><span class="icechunk-field-name">{_escaped(name)}:</span> '
                f'<span class="{form}">{_escaped(value)}</span></div>'
            )
        else:
            lines += [
                "  <details>",
                f'    <summary class="icechunk-field-name">{_escaped(name)}</summary>',
                f"    {_panel(value)}",
                "  </details>",
            ]
    lines.append("</div>")
    return "\n".join(lines)


def _escaped(text: str) -> str:
    # As html.escape, whose module brings a table of 2,000 entities along.
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
