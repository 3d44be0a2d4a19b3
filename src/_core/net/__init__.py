"""System calls on sockets: many datagrams in one call, a question and its answer in another."""
