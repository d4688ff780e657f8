"""The one exception type for input that a user can put right, and what no message may hold."""

import re

LONGEST_MESSAGE = 2000


class InputError(ValueError):
    r"""Raised when data, an argument or a file is not what was expected.

    The command line prints the message without a stack trace and exits with status 2; library users
    catch it as a ``ValueError``.

    Args:
        message: What is wrong, where, and what was expected. It may quote what a file or a library
            says: line breaks and other control characters are escaped, a long one is cut, and
            secrets are taken out, so that it is one line on a terminal, whatever the file.

    Example:
        >>> print(InputError("no such column; there are a\nb"))
        no such column; there are a\nb
    """

    def __init__(self, message: str) -> None:
        message = hide_secrets(message)
        if len(message) > LONGEST_MESSAGE:
            message = message[:LONGEST_MESSAGE] + " ..."
        super().__init__(
            "".join(
                sign if sign.isprintable() or sign == " " else repr(sign)[1:-1] for sign in message
            )
        )


def hide_secrets(text: str) -> str:
    """A text without tokens for the Hub, and without user and password in addresses.

    Args:
        text: Anything.

    Returns:
        The text as it is where there are none.

    Example:
        >>> hide_secrets("https://me:secret@example.org/data.tar.gz, Bearer abc")
        'https://example.org/data.tar.gz, (token)'
    """
    return re.sub(
        r"Bearer \S+|\bhf_[A-Za-z0-9]{20,}", "(token)", re.sub(r"(?<=://)[^/@\s]+@", "", text)
    )
