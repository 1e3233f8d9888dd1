"""Fetch pages at the same time, then process them: an async flow with a retry.

Shows the decorator without options, and `trace_attributes` for what only the caller knows (a web request's user).
"""

import asyncio

from pocketflow import AsyncFlow, AsyncNode, AsyncParallelBatchNode

from pocketflow_tracing import trace_attributes, trace_flow

PAGES = {
    "/home": (0.02, "Welcome. We make tea."),
    "/about": (0.03, "Three people. One kettle. Much tea."),
    "/shop": (0.01, "Green tea. Black tea."),
}
seen = set()


async def fetch(path):
    """Stand in for an HTTP client; the shop is busy at the first try."""
    seconds, text = PAGES[path]
    await asyncio.sleep(seconds)
    if path == "/shop" and path not in seen:
        seen.add(path)
        raise ConnectionError("503 Service Unavailable")
    return text


class FetchPages(AsyncParallelBatchNode):
    async def prep_async(self, shared):
        return shared["paths"]

    async def exec_async(self, path):
        return await fetch(path)

    async def post_async(self, shared, paths, texts):
        shared["pages"] = dict(zip(paths, texts, strict=True))


class CountSentences(AsyncNode):
    async def prep_async(self, shared):
        return shared["pages"]

    async def exec_async(self, pages):
        return {path: text.count(".") for path, text in pages.items()}

    async def post_async(self, shared, pages, counts):
        shared["counts"] = counts


@trace_flow
class FetchFlow(AsyncFlow):
    def __init__(self):
        pages = FetchPages(max_retries=3, wait=0.05)
        pages >> CountSentences()
        super().__init__(start=pages)


async def main():
    shared = {"paths": list(PAGES)}
    with trace_attributes(session_id="session-7", user_id="ada"):
        await FetchFlow().run_async(shared)
    print("Sentences per page:", shared["counts"])


if __name__ == "__main__":
    asyncio.run(main())
