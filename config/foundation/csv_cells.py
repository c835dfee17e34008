"""Texts as a CSV file may carry them to a spreadsheet."""

#: A spreadsheet takes a text that begins so for a formula.
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def defused(text: str) -> str:
    """The text, behind an apostrophe where it would be taken for a formula. Numbers are no texts: leave them alone."""
    return f"'{text}" if text.startswith(_FORMULA) else text
