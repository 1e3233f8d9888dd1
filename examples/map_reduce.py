"""Map-reduce: score each résumé on its own with a batch node, then reduce the scores to a shortlist.

Shows the decorator on a factory that returns a flow, and a fallback that keeps one bad item from ending the run.
"""

from pocketflow import BatchNode, Flow, Node

from pocketflow_tracing import trace_flow

RESUMES = {
    "Ada": "10 years Python, 4 years SQL",
    "Bob": "2 years Python",
    "Cid": "handwritten, cannot be read",
    "Dot": "6 years SQL, 1 year Python",
}


class ReadResumes(Node):
    def exec(self, _):
        return list(RESUMES.items())

    def post(self, shared, _, resumes):
        shared["resumes"] = resumes


class ScoreResumes(BatchNode):
    def prep(self, shared):
        return shared["resumes"]

    def exec(self, resume):
        name, text = resume
        years = [int(part.split()[0]) for part in text.split(", ")]
        return name, sum(years)

    def exec_fallback(self, resume, error):
        return resume[0], 0

    def post(self, shared, resumes, scores):
        shared["scores"] = dict(scores)


class Shortlist(Node):
    def prep(self, shared):
        return shared["scores"]

    def exec(self, scores):
        return sorted(scores, key=scores.get, reverse=True)[:2]

    def post(self, shared, scores, names):
        shared["shortlist"] = names


@trace_flow(flow_name="ResumeScreening", metadata={"position": "data engineer"})
def create_flow():
    read = ReadResumes()
    read >> ScoreResumes(max_retries=2) >> Shortlist()
    return Flow(start=read)


if __name__ == "__main__":
    shared = {}
    create_flow().run(shared)
    print("Scores:", shared["scores"])
    print("Shortlist:", ", ".join(shared["shortlist"]))
