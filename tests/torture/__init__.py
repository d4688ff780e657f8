"""Kills, full disks, broken and hostile input, far more of it than a test suite has time for."""
