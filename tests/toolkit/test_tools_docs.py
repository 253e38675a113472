"""Docstrings in three styles."""

import pytest

from moonshot_async.toolkit.functions.docstrings import documentation

GOOGLE = """The weather: now.

    What it is like.
    - and a list

    Args:
        city (str, optional): its English name,
            in full: "Oslo".

        unit: C or F.
        *rest: more of it
        bare:
            in its own line

    Returns:
        A text: long.

    Note:
        Be kind.

    Example:
        >>> get_weather()
    """

NUMPY = """The weather: now.

    What it is like.
    - and a list

    Parameters
    ----------
    city : str, optional
        its English name,
        in full: "Oslo".
    unit : {"C", "F"}
        C or F.
    *rest
        more of it
    bare : int
        in its own line

    Returns
    -------
    str
        A text.

    Note
    ----
    Be kind.

    Examples
    --------
    >>> get_weather()
    """

SPHINX = """The weather: now.

    What it is like.
    - and a list

    :param str city: its English name,
        in full: "Oslo".
    :type city: str
    :param unit: C or F.
    :keyword \\*rest: more of it
    :arg bare:
        in its own line
    :returns: A text.
    :raises ValueError: never.

    Be kind.
    """


@pytest.mark.parametrize("docstring", [GOOGLE, NUMPY, SPHINX], ids=["Google", "NumPy", "Sphinx"])
def test_the_parameters_are_told_apart_from_the_rest(docstring: str) -> None:
    found = documentation(docstring)

    assert found.parameters == {
        "city": 'its English name, in full: "Oslo".',
        "unit": "C or F.",
        "rest": "more of it",
        "bare": "in its own line",
    }
    assert found.description.startswith("The weather: now.\n\nWhat it is like.\n- and a list\n\n")
    assert found.description.endswith("Be kind.")
    for other in ("A text", ">>>", "never", "Args", "Parameters", "Returns"):
        assert other not in found.description


@pytest.mark.parametrize(
    ("docstring", "description", "parameters"),
    [
        (None, "", {}),
        ("", "", {}),
        ("One.", "One.", {}),
        ("One.\n\n    Args:", "One.", {}),
        ("One.\n\n    Args:\n        no colon here\n    ", "One.", {}),
        ("One.\n\n    Parameters\n    ----------", "One.", {}),
        (
            "x, y.\n\n    Parameters\n    ----------\n    x, y : int\n        Both.\n",
            "x, y.",
            {"x": "Both.", "y": "Both."},
        ),
        ("One.\n\n    Args:\n        a:\n        b: text", "One.", {"b": "text"}),
        ("One.\n\n    :param: nobody\n    :param a: some", "One.", {"a": "some"}),
        ("See :ref:`this`: yes.\n\n    :unheard a: stays", "See :ref:`this`: yes.\n\n:unheard a: stays", {}),
        ("Title\n    -----\n\n    Text.", "Title\n-----\n\nText.", {}),
        ("One.\n\n    Args:\n        a: first\n\n    Tail.\n\n\n\n    More.", "One.\n\nTail.\n\nMore.", {"a": "first"}),
        ("One.\n\n    Usage:\n        Call it.", "One.\n\nUsage:\n    Call it.", {}),
    ],
)
def test_odd_docstrings_are_read_as_far_as_they_go(
    docstring: str | None, description: str, parameters: dict[str, str]
) -> None:
    assert documentation(docstring) == (description, parameters)
