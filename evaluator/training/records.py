"""Makes up records and claims about them: what JSON, tables and lists of fields say is seldom written out in training data.

    python records.py records.jsonl [--rows 5000]

Each record has a name and some fields of its kind (a place, a product, an event, a job): yes or no, one of a few values, a number, hours
of a day. A claim is a sentence on one to three of them. Unsupported claims turn a field round, give another value, or tell of
a field that the record does not have. Everything comes from the lists below and a fixed seed; rows have the form of augment.py.
"""

import argparse
import json
import random

SEED = 23
DAYS = "Monday Tuesday Wednesday Thursday Friday Saturday Sunday".split()
FIRST = "Blue Golden Old Silver Green Royal Little Grand Red Harbor Maple River Sunset Lucky Stone Corner North Bright Iron Willow".split()
CITIES = "Tampa Boise Leeds Porto Reno Dayton Nantes Austin Bergen Tucson Albany Malmo Salem Cork Fresno Lyon Omaha Derby".split()
# Field: what is said when it is true, what when it is false.
YES_NO = dict(
    place={
        "OutdoorSeating": (["has outdoor seating", "offers outdoor seating", "lets guests sit outside"], ["has no outdoor seating", "does not offer outdoor seating", "seats guests indoors only"]),
        "RestaurantsDelivery": (["delivers", "offers delivery"], ["does not deliver", "has no delivery service"]),
        "RestaurantsTakeOut": (["offers takeout", "has takeout"], ["does not offer takeout", "has no takeout"]),
        "RestaurantsReservations": (["takes reservations", "accepts reservations"], ["does not take reservations", "accepts no reservations"]),
        "GoodForKids": (["is good for children", "suits families with kids"], ["is not suitable for children", "is no place for kids"]),
        "WheelchairAccessible": (["is wheelchair accessible", "can be reached by wheelchair"], ["is not wheelchair accessible", "cannot be reached by wheelchair"]),
        "DogsAllowed": (["allows dogs", "welcomes dogs"], ["does not allow dogs", "turns dogs away"]),
        "HappyHour": (["has a happy hour"], ["has no happy hour"]),
        "garage": (["has a parking garage", "offers garage parking"], ["has no parking garage", "does not offer garage parking"]),
        "valet": (["offers valet parking"], ["does not offer valet parking", "has no valet parking"]),
        "street": (["has street parking nearby"], ["has no street parking"]),
        "romantic": (["has a romantic atmosphere", "feels romantic"], ["is not romantic"]),
        "touristy": (["is touristy", "draws many tourists"], ["is not touristy"]),
        "classy": (["is classy", "has a classy atmosphere"], ["is not classy"]),
        "live_music": (["has live music"], ["has no live music"]),
    },
    product={
        "in_stock": (["is in stock", "is available now"], ["is out of stock", "is not available at present"]),
        "waterproof": (["is waterproof"], ["is not waterproof"]),
        "wireless": (["is wireless", "works without a cable"], ["is not wireless", "needs a cable"]),
        "batteries_included": (["comes with batteries"], ["comes without batteries"]),
        "refundable": (["can be returned for a refund", "is refundable"], ["cannot be refunded", "is not refundable"]),
        "freeShipping": (["ships for free", "has free shipping"], ["does not ship for free"]),
        "dishwasher_safe": (["is dishwasher safe"], ["is not dishwasher safe", "must not go into the dishwasher"]),
    },
    event={
        "sold_out": (["is sold out", "has no tickets left"], ["is not sold out", "still has tickets"]),
        "outdoors": (["takes place outdoors"], ["does not take place outdoors", "takes place indoors"]),
        "freeEntry": (["is free of charge", "has free entry"], ["charges for entry", "is not free"]),
        "recorded": (["will be recorded"], ["will not be recorded"]),
        "registration_required": (["requires registration"], ["needs no registration", "does not require registration"]),
    },
    job={
        "remote": (["can be done remotely", "is remote"], ["cannot be done remotely", "is on site only"]),
        "full_time": (["is full time"], ["is not full time", "is part time"]),
        "visaSponsorship": (["offers visa sponsorship"], ["offers no visa sponsorship"]),
        "experience_required": (["requires experience"], ["requires no experience"]),
    },
)
ONE_OF = dict(
    place={
        "WiFi": {"free": ["has free WiFi", "offers WiFi at no charge"], "paid": ["charges for WiFi", "has paid WiFi"], "no": ["has no WiFi", "does not offer WiFi"]},
        "NoiseLevel": {"quiet": ["is quiet"], "average": ["has an average noise level"], "loud": ["is loud", "is a noisy place"]},
        "RestaurantsAttire": {"casual": ["has a casual dress code", "is casual"], "dressy": ["expects dressy attire"], "formal": ["asks for formal attire"]},
        "Alcohol": {"full_bar": ["has a full bar"], "beer_and_wine": ["serves beer and wine only"], "none": ["serves no alcohol"]},
        "categories": {f"{a}, {b}": [f"serves {a} food", f"is known for {a} cooking"] for a, b in [("Italian", "Pizza"), ("Mexican", "Tacos"), ("Thai", "Noodles"), ("Indian", "Vegetarian"), ("Greek", "Seafood"), ("French", "Bistros")]},
    },
    product={
        "color": {c: [f"is {c}", f"comes in {c}"] for c in "black white blue red silver green".split()},
        "material": {m: [f"is made of {m}"] for m in "steel wood cotton leather plastic glass".split()},
        "warranty": {"1 year": ["has a one-year warranty"], "2 years": ["has a warranty of two years"], "none": ["has no warranty"]},
    },
    event={
        "language": {l: [f"is held in {l}"] for l in "English French German Spanish Japanese".split()},
        "weekday": {d: [f"takes place on a {d}"] for d in DAYS},
        "level": {"beginner": ["is for beginners"], "advanced": ["is for advanced participants"]},
    },
    job={
        "department": {d: [f"is in {d}"] for d in "sales marketing engineering finance support".split()},
        "contract": {"permanent": ["is permanent"], "temporary": ["is temporary", "is for a limited time"]},
    },
)
NUMBERS = dict(
    place={"stars": (2, 5, ["has a rating of {} stars", "is rated {} out of 5"]), "review_count": (10, 900, ["has {} reviews"]), "rooms": (5, 200, ["has {} rooms"])},
    product={"price": (5, 900, ["costs ${}", "is priced at ${}"]), "weight_kg": (1, 40, ["weighs {} kg"]), "releaseYear": (1990, 2025, ["came out in {}", "was released in {}"])},
    event={"capacity": (20, 5000, ["has room for {} people", "can hold {} people"]), "ticketPrice": (5, 200, ["costs ${} a ticket"]), "speakers": (2, 40, ["has {} speakers"])},
    job={"salary_usd": (30000, 200000, ["pays ${} a year"]), "openings": (1, 30, ["has {} openings"]), "vacation_days": (10, 35, ["comes with {} days of vacation"])},
)
KINDS = dict(place=["Grill", "Cafe", "Inn", "Kitchen", "Bar"], product=["Lamp", "Kettle", "Headset", "Backpack"], event=["Festival", "Conference", "Fair"],
             job=["Analyst", "Manager", "Technician"])
NAMED = dict(place=["The restaurant", "This place", "It", "{}"], product=["The product", "It", "The {}"], event=["The event", "It", "The {}"], job=["The position", "The job", "It"])
EXTRA = ["making it a popular choice", "which many visitors appreciate", "according to the information provided", "so there is something for everyone"]


def said(clock, rng):
    """A time of day as people say it."""
    hour, minute = clock
    half = "AM" if hour < 12 else "PM"
    short = f"{(hour - 1) % 12 + 1}" + (f":{minute:02}" if minute or rng.random() < 0.3 else "")
    return rng.choice([f"{short} {half}", f"{short} {half.lower()[0]}.m."] + ([f"{hour}:{minute:02}"] if rng.random() < 0.3 else []))


def claim_of(kind, field, value, truth, rng):
    """Words that hold for the value, or ones that do not."""
    if field in YES_NO[kind]:
        return rng.choice(YES_NO[kind][field][0 if value == truth else 1])
    if field in ONE_OF[kind]:
        values = ONE_OF[kind][field]
        shown = value if truth else rng.choice([other for other in values if other != value])
        return rng.choice(values[shown])
    if field in NUMBERS[kind]:
        low, high, phrases = NUMBERS[kind][field]
        shown = value if truth else rng.choice([n for n in (rng.randint(low, high) for _ in range(20)) if n != value] or [value + 1])
        return rng.choice(phrases).format(f"{shown:,}" if shown >= 10_000 and rng.random() < 0.6 else shown)
    opens, closes = value[1]
    if not truth:
        moved = lambda clock: ((clock[0] + rng.choice([1, 2, 3, -1, -2])) % 24, clock[1])
        opens, closes = (moved(opens), closes) if rng.random() < 0.5 else (opens, moved(closes))
        if rng.random() < 0.1:
            return f"is closed on {value[0]}"
    return f"is open from {said(opens, rng)} to {said(closes, rng)} on {value[0]}"


def written(record, fields, hours, rng):
    """The record as text."""
    style = rng.random()
    shown = {name: value for name, value in fields.items()}
    if hours:
        shown["hours"] = {day: f"{a[0]}:{a[1]}-{b[0]}:{b[1]}" for day, (a, b) in hours.items()}
    nested = {name: shown.pop(name) for name in list(shown) if name != "hours" and rng.random() < 0.5}
    whole = {**record, **shown, "attributes": nested}
    if style < 0.5:
        return json.dumps(whole)
    if style < 0.7:
        return json.dumps(whole, indent=2)
    if style < 0.8:
        return str(whole)
    yes = {True: "yes", False: "no"}
    flat = {**record, **fields, **(shown.get("hours") or {})}
    lines = [f"{name}: {yes[value] if isinstance(value, bool) else value}" for name, value in flat.items()]
    return "\n".join(("- " if style < 0.9 else "") + line for line in lines)


def row(number, rng):
    kind = rng.choice(["place", "place", "place", "product", "event", "job"])
    name = f"{rng.choice(FIRST)} {rng.choice(FIRST)} {rng.choice(KINDS[kind])}"
    record = {"name": name, "city": rng.choice(CITIES)}
    every = list(YES_NO[kind]) + list(ONE_OF[kind]) + list(NUMBERS[kind])
    chosen = rng.sample(every, max(4, int(len(every) * rng.uniform(0.4, 0.8))))
    fields = {}
    for field in chosen:
        if field in YES_NO[kind]:
            fields[field] = rng.random() < 0.5
        elif field in ONE_OF[kind]:
            fields[field] = rng.choice(list(ONE_OF[kind][field]))
        else:
            low, high, _ = NUMBERS[kind][field]
            fields[field] = rng.randint(low, high)
    hours = {}
    if kind == "place" and rng.random() < 0.6:
        usual = (rng.randint(6, 12), rng.choice([0, 0, 30])), (rng.randint(15, 23), rng.choice([0, 0, 30]))
        for day in DAYS:
            if rng.random() < 0.85:
                hours[day] = usual if rng.random() < 0.6 else ((rng.randint(6, 12), 0), (rng.randint(15, 23), 0))
    facts = [(field, value) for field, value in fields.items()] + [("hours", one) for one in hours.items()]
    told = rng.sample(facts, rng.choice([1, 1, 2, 2, 3]))
    label = int(rng.random() < 0.5)
    wrong = rng.randrange(len(told)) if label else -1
    absent = [field for field in every if field not in fields]
    text = rng.choice(NAMED[kind]).format(name) + " "
    spans = []
    for at, (field, value) in enumerate(told):
        if at:
            text += " and " if at == len(told) - 1 else ", "
        if at == wrong and absent and rng.random() < 0.2:
            field = rng.choice(absent)
            value = rng.random() < 0.5 if field in YES_NO[kind] else rng.choice(list(ONE_OF[kind][field])) if field in ONE_OF[kind] else rng.randint(*NUMBERS[kind][field][:2])
            words = claim_of(kind, field, value, True, rng)
        else:
            words = claim_of(kind, field, value, at != wrong, rng)
        if at == wrong:
            spans.append(dict(start=len(text), end=len(text) + len(words), type="record"))
        text += words
    text += (f", {rng.choice(EXTRA)}." if rng.random() < 0.2 else ".")
    return dict(dataset="synthetic", id=number, context=written(record, fields, hours, rng), question=None, answer=text, model=None, label=label,
                spans=spans, kind="record", source="records", group=f"record-{number}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("out")
    parser.add_argument("--rows", type=int, default=5_000)
    given = parser.parse_args()
    rng = random.Random(SEED)
    with open(given.out, "w") as out:
        for number in range(given.rows):
            out.write(json.dumps(row(number, rng)) + "\n")


if __name__ == "__main__":
    main()
