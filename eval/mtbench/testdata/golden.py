"""Writes reports.json: python golden.py > reports.json

Random reports of a judge, odd ones included, each with the scores.json that CPython's re, ast, statistics and json make of
it by FastEval's rules: the first [[n]], else the first [n]; replies without a rating are left out; means by
statistics.mean; a turn that is not 0 is the second. A report that Python cannot score has null.
"""
import ast, json, random, re, statistics

rng = random.Random(3)
QUESTIONS = {str(81 + i): {"category": c, "turns": ["Eins?", "Zwei?"]} for i, c in enumerate(
    ["writing", "writing", "roleplay", "Größe", "math", "math", "coding", "stem"])}


def number():
    return rng.choice([str(rng.randrange(1, 11)), str(rng.randrange(1, 11)), f"{rng.randrange(1, 10)}.5", f"{rng.randrange(0, 30)}.{rng.randrange(0, 1000)}",
                       "10.", "0", "00", "85", str(10 ** rng.randrange(10, 25))])


def reply():
    n, m = number(), number()
    return rng.choice([
        f"Gut. Bewertung: [[{n}]]", f"Gut. Bewertung: [[{n}]]", f"Bewertung: [[{n}]]", f"[[{n}]] und am Ende [[{m}]]", f"Siehe [1]. Bewertung: [[{n}]]",
        f"Siehe [{n}] und [{m}].", f"Bewertung: {n}/10", "Das kann ich nicht bewerten.", "", f"[[{n}/10]]", f"[[ {n} ]]", f"[[{n},5]] dann [{m}]",
        f"[[Bewertung]] [[{n}]]", f"[[{n}]\n]", f"x[[[{n}]]]", f"[[-{n}]]", f"\u00dcber {n}: [[{n}]] \U0001f600", f"[[{n}]]" * 3, f"a[i] b[{n}] c[[x]]",
    ])


def score(replies):
    turns, categories = ([], []), {}
    for r in replies:
        category = QUESTIONS[r["question_id"]]["category"]
        found = re.search(r"\[\[(\d+\.?\d*)\]\]", r["judge_reply"]) or re.search(r"\[(\d+\.?\d*)\]", r["judge_reply"])
        if found:
            value = ast.literal_eval(found.group(1))
            turns[0 if r["turn_number"] == 0 else 1].append(value)
            categories.setdefault(category, []).append(value)
    first, second = statistics.mean(turns[0]), statistics.mean(turns[1])
    return {"first_turn": first, "second_turn": second, "categories": {c: statistics.mean(v) for c, v in categories.items()}, "average": (first + second) / 2}


reports = []
for k in range(150):
    replies = [{"question_id": q, "turn_number": t, "judge_reply": reply()} for t in [0, 1] for q in QUESTIONS if rng.random() < rng.choice([1, 0.9, 0.4])]
    if k % 5 == 0:
        rng.shuffle(replies)
    if k % 7 == 0:
        for r in replies:
            r["turn_number"] = rng.choice([0, 1, 2, -1, 0.0, False, True, None, "0"])
    if k % 3 == 0:
        for r in replies:
            r["judge_reply"] = f"Bewertung: [[{rng.randrange(1, 11)}]]"
    try:
        want = json.dumps(score(replies), indent=4)
    except (statistics.StatisticsError, SyntaxError):
        want = None
    reports.append({"replies": replies, "scores": want})
print(json.dumps({"questions": QUESTIONS, "reports": reports}))
