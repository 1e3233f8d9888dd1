"""A customer-support desk: classify each ticket, then route it to the node that answers it.

Shows the decorator on a flow class, with options that are taken from `shared` at each run's start.
"""

from pocketflow import Flow, Node

from pocketflow_tracing import add_score, trace_flow

TICKETS = [
    {"customer": "ada", "text": "I was charged twice on my last invoice."},
    {"customer": "bob", "text": "The app crashes when I open the settings."},
    {"customer": "ada", "text": "Do you have an office in Lisbon?"},
]
KEYWORDS = {"billing": {"charged", "invoice", "refund"}, "technical": {"crashes", "error", "slow"}}


class ClassifyTicket(Node):
    def prep(self, shared):
        return shared["ticket"]["text"]

    def exec(self, text):
        words = set(text.lower().strip(".?!").split())
        matches = {category: len(words & keywords) for category, keywords in KEYWORDS.items()}
        best = max(matches, key=matches.get)
        return {"category": best if matches[best] else "general", "matches": matches[best]}

    def post(self, shared, text, result):
        shared["category"] = result["category"]
        add_score("keyword_matches", result["matches"])
        return result["category"]


class AnswerTicket(Node):
    template = "Thank you for your question, {customer}. A colleague will answer it today."

    def prep(self, shared):
        return shared["ticket"]["customer"].title()

    def exec(self, customer):
        return self.template.format(customer=customer)

    def post(self, shared, customer, reply):
        shared["reply"] = reply


class AnswerBilling(AnswerTicket):
    template = "Sorry about that, {customer}. We have refunded the second charge."


class AnswerTechnical(AnswerTicket):
    template = "Thank you, {customer}. Version 2.1 fixes this crash; please update."


@trace_flow(
    flow_name="CustomerSupportTicketAnalysis",
    user_id=lambda shared: shared["ticket"]["customer"],
    tags=["support"],
)
class SupportFlow(Flow):
    def __init__(self):
        classify = ClassifyTicket()
        classify - "billing" >> AnswerBilling()
        classify - "technical" >> AnswerTechnical()
        classify - "general" >> AnswerTicket()
        super().__init__(start=classify)


if __name__ == "__main__":
    flow = SupportFlow()
    for ticket in TICKETS:
        shared = {"ticket": ticket}
        flow.run(shared)
        print(f"[{shared['category']}] {shared['reply']}")
