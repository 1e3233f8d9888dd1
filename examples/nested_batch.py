"""Every document in every language: documents in parallel, and in each of them an inner flow over the languages.

Shows nested and parallel batch flows: each pass is a span that holds its own nodes and parameters.
"""

import asyncio

from pocketflow import AsyncBatchFlow, AsyncNode, AsyncParallelBatchFlow, Node

from pocketflow_tracing import trace_flow

DOCUMENTS = {"greeting": "good morning", "farewell": "good night"}
LANGUAGES = {
    "French": {"good": "bon", "morning": "matin", "night": "nuit"},
    "German": {"good": "gute", "morning": "Morgen", "night": "Nacht"},
}


class LoadDocument(Node):
    def exec(self, _):
        return DOCUMENTS[self.params["document"]]

    def post(self, shared, _, text):
        shared["texts"][self.params["document"]] = text


class TranslateDocument(AsyncNode):
    async def prep_async(self, shared):
        return shared["texts"][self.params["document"]]

    async def exec_async(self, text):
        await asyncio.sleep(0.01)  # a language model would work here
        words = LANGUAGES[self.params["language"]]
        return " ".join(words[word] for word in text.split())

    async def post_async(self, shared, text, translation):
        shared["translations"][self.params["document"], self.params["language"]] = translation


class EachLanguage(AsyncBatchFlow):
    async def prep_async(self, shared):
        return [{"language": language} for language in LANGUAGES]


@trace_flow(tags=["translation"])
class TranslateLibrary(AsyncParallelBatchFlow):
    def __init__(self):
        load = LoadDocument()
        load >> EachLanguage(start=TranslateDocument())
        super().__init__(start=load)

    async def prep_async(self, shared):
        return [{"document": document} for document in shared["documents"]]


async def main():
    shared = {"documents": list(DOCUMENTS), "texts": {}, "translations": {}}
    await TranslateLibrary().run_async(shared)
    for (document, language), translation in sorted(shared["translations"].items()):
        print(f"{document} in {language}: {translation}")


if __name__ == "__main__":
    asyncio.run(main())
