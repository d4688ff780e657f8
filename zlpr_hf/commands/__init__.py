"""The commands of ``zlpr``, a module each: ``run(argv, program)``."""
