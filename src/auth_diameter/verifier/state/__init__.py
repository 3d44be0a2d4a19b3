"""State that several back ends share: the uses of nonces, and guesses.

Each back end judges by its own memory first. What that would let in, and what counts as a guess, is told to
the state before it is answered: all questions of one turn in one command. While the state is away, each goes
on with its own memory alone.
"""
