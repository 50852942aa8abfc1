"""The command `kubenetinsight`: answers for people on a terminal and for programs on a pipe."""
