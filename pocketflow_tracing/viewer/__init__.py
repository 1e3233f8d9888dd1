"""The browser view: the runs of a store, each as a timeline, as a graph and as the state it left behind.

It reads the store and nothing else. The server needs the extra `ui`; the self-contained page of one run needs nothing.
"""
