"""The subscriber store: subscribers, their HA1 and their groups."""
