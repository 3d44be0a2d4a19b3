"""DISC, the Diameter back end that knows the subscribers: store, decisions, listener."""
