"""Data sets x losses x seeds, with statistics: the paper's comparison on data of one's own."""
