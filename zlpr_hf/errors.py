"""The one exception type for input that a user can put right, and what no message may hold."""

import re


class InputError(ValueError):
    """Raised when data, an argument or a file is not what was expected.

    The message is one line: what is wrong, where, and what was expected. The command line prints it
    without a stack trace and exits with status 2; library users catch it as a ``ValueError``.
    Secrets that a library put into its own message are taken out.

    Args:
        message: The line.
    """

    def __init__(self, message: str) -> None:
        super().__init__(hide_secrets(message))


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
