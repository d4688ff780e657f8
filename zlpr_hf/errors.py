"""The one exception type for input that a user can put right."""


class InputError(ValueError):
    """Raised when data, an argument or a file is not what was expected.

    The message is one line: what is wrong, where, and what was expected. The command line prints it
    without a stack trace and exits with status 2; library users catch it as a ``ValueError``.
    """
