"""What pictures in space have in common: a canvas that is turned by hand (`turning.js`).

Each kind of object has a script of its own that says what is drawn. Both stand in one block, so
that viewers of a page do not meet, and nothing is asked of a network.
"""

__all__ = ["hint", "script"]

from importlib.resources import files


def hint(more: str = "") -> str:
    """Returns how a viewer is used; `more` says what other keys do."""
    return (
        "Drag to turn. Click, then use the wheel to zoom; or pinch. With the keyboard: arrows, "
        f"plus and minus, space, Home{f'; {more}' if more else ''}."
    )


def script(own: str) -> str:
    """Returns an element for the end of a viewer: its own script after the common one.

    The viewer holds elements of the classes `stage`, in which a drawing stands that the canvas
    replaces, and `turn`, a box to tick. What is hidden in it is shown once the script runs.

    Args:
        own: A script that calls `turning(root, {...})`.
    """
    common = files("genmatter.reporting").joinpath("turning.js").read_text("utf-8").strip()
    return f"<script>{{\n{common}\n{own}\n}}</script>"
