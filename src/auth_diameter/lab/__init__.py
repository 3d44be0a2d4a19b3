"""For trying the package out: the demo and its SIP user agent client."""
