"""An agent that searches until it knows enough, then answers: a loop with a branch.

Shows `trace_flow` on a plain `Flow` object, as most programs build one, and metadata and a score from inside a node.
"""

from pocketflow import Flow, Node

from pocketflow_tracing import add_metadata, add_score, trace_flow

HEIGHTS = {"the Eiffel Tower": 330, "Big Ben": 96}  # metres


class DecideAction(Node):
    def prep(self, shared):
        return [place for place in HEIGHTS if place not in shared["facts"]]

    def exec(self, missing):
        # A language model would decide here.
        return ("search", missing[0]) if missing else ("answer", None)

    def post(self, shared, missing, decision):
        action, shared["query"] = decision
        return action


class SearchWeb(Node):
    def prep(self, shared):
        return shared["query"]

    def exec(self, query):
        return HEIGHTS[query]

    def post(self, shared, query, result):
        add_metadata(engine="offline", results=1)
        shared["facts"][query] = result
        return "decide"


class AnswerQuestion(Node):
    def prep(self, shared):
        return shared["question"], shared["facts"]

    def exec(self, inputs):
        question, facts = inputs
        highest = max(facts, key=facts.get)
        return f"{question} It is {highest}, with {facts[highest]} metres."

    def post(self, shared, inputs, answer):
        add_score("facts_used", len(shared["facts"]), comment="more is better")
        shared["answer"] = answer


decide, search = DecideAction(), SearchWeb()
decide - "search" >> search
decide - "answer" >> AnswerQuestion()
search - "decide" >> decide

agent = trace_flow(flow_name="ResearchAgent")(Flow(start=decide))

if __name__ == "__main__":
    shared = {"question": "Which is higher, the Eiffel Tower or Big Ben?", "facts": {}}
    agent.run(shared)
    print(shared["answer"])
