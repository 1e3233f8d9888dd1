"""A language model called inside a node: its generation, with model and tokens, stands under the attempt that made it.

Shows the decorator on a function that runs flows. With OPENAI_API_KEY set the call goes through `langfuse.openai`;
without it a stand-in that is observed in the same way answers.
"""

import os

from langfuse import get_client, observe
from pocketflow import Flow, Node

from pocketflow_tracing import current_trace_url, trace_flow


def ask_openai(question):
    from langfuse.openai import OpenAI

    messages = [{"role": "user", "content": question}]
    answer = OpenAI().chat.completions.create(model="gpt-4o-mini", messages=messages)
    return answer.choices[0].message.content


@observe(as_type="generation", name="stand-in-model")
def ask_stand_in(question):
    answer = "A flow is a graph of nodes that share one dictionary."
    usage = {"input": len(question.split()), "output": len(answer.split())}
    get_client().update_current_generation(model="stand-in-1", usage_details=usage)
    return answer


class AskModel(Node):
    def prep(self, shared):
        return shared["question"]

    def exec(self, question):
        ask = ask_openai if os.environ.get("OPENAI_API_KEY") else ask_stand_in
        return ask(question)

    def post(self, shared, question, answer):
        shared["answer"] = answer


class CheckAnswer(Node):
    def prep(self, shared):
        return shared["answer"]

    def exec(self, answer):
        return answer.endswith(".")

    def post(self, shared, answer, is_complete):
        shared["is_complete"] = is_complete


@trace_flow(flow_name="AskAboutPocketFlow")
def answer(question):
    ask = AskModel(max_retries=2)
    ask >> CheckAnswer()
    shared = {"question": question}
    Flow(start=ask).run(shared)
    return shared["answer"], current_trace_url()


if __name__ == "__main__":
    text, url = answer("What is a flow in PocketFlow?")
    if url:
        print("Trace:", url)
    print("Answer:", text)
