"""Runs rule types of elastalert2 over events. Started by `test_elastalert_parity.py` with the
interpreter of an environment that has elastalert2; reads cases, writes matches, both JSON.

A case is a rule as its file says it, and events with their time in seconds. The rule is run as
ElastAlert does while it is up: every minute it is given what came since, then asked to clean up.
"""

import datetime as dt
import json
import sys
from collections import defaultdict

from elastalert.util import lookup_es_key

from elastalert import ruletypes

EVERY = 60
ZERO = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
KINDS = {
    "any": ruletypes.AnyRule,
    "blacklist": ruletypes.BlacklistRule,
    "whitelist": ruletypes.WhitelistRule,
    "change": ruletypes.ChangeRule,
    "frequency": ruletypes.FrequencyRule,
    "spike": ruletypes.SpikeRule,
    "spike_aggregation": ruletypes.SpikeMetricAggregationRule,
    "flatline": ruletypes.FlatlineRule,
    "new_term": ruletypes.NewTermsRule,
    "cardinality": ruletypes.CardinalityRule,
    "metric_aggregation": ruletypes.MetricAggregationRule,
    "percentage_match": ruletypes.PercentageMatchRule,
}


def at(seconds):
    return ZERO + dt.timedelta(seconds=seconds)


def options(rule):
    made = {**rule, "timestamp_field": "@timestamp", "name": "r"}
    for key in ("timeframe", "buffer_time", "run_every"):
        if key in made:
            made[key] = dt.timedelta(**made[key])
    keys = made.get("query_key")
    if isinstance(keys, list):
        made["compound_query_key"], made["query_key"] = keys, ",".join(keys)
    compared = made.get("compare_key")
    if isinstance(compared, list):
        made["compound_compare_key"], made["compare_key"] = compared, ",".join(compared)
    elif compared is not None:
        made["compound_compare_key"] = [compared]
    return made


def documents(rule, events):
    for event in events:
        made = {**event, "@timestamp": at(event["t"])}
        if "compound_query_key" in rule:
            values = [lookup_es_key(made, key) for key in rule["compound_query_key"]]
            made[rule["query_key"]] = ", ".join(map(str, values))
        yield made


def aggregated(rule, inside):
    """What Elasticsearch would answer for the events of a stretch."""
    if rule["type"] == "percentage_match":
        ((field, wanted),) = rule["match_bucket_filter"][0]["term"].items()
        hits = sum(event.get(field) == wanted for event in inside)
        buckets = {
            "match_bucket": {"doc_count": hits},
            "_other_": {"doc_count": len(inside) - hits},
        }
        return {"percentage_match_aggs": {"buckets": buckets}}
    key, kind = rule["metric_agg_key"], rule["metric_agg_type"]
    values = [event[key] for event in inside if event.get(key) is not None]
    number = {
        "min": lambda: min(values, default=None),
        "max": lambda: max(values, default=None),
        "avg": lambda: sum(values) / len(values) if values else None,
        "sum": lambda: sum(values),
        "cardinality": lambda: len(set(values)),
        "value_count": lambda: len(values),
    }[kind]()
    return {f"metric_{key}_{kind}": {"value": number}}


def run(case):
    rule = options(case["rule"])
    events = sorted(documents(rule, case["events"]), key=lambda event: event["t"])
    kind = KINDS[rule["type"]]
    if rule["type"] == "new_term":
        kind.get_all_terms = lambda self, _: self.seen_values.update(
            {tuple(f) if isinstance(f, list) else f: [] for f in self.fields}
        )
    made = kind(rule)
    if rule["type"] == "new_term":
        until = events[0]["t"] + rule["terms_window_size"]["seconds"]
        made.add_data([event for event in events if event["t"] < until])
        made.matches.clear()
        events = [event for event in events if event["t"] >= until]
    aggregates = rule["type"] in ("metric_aggregation", "percentage_match", "spike_aggregation")
    found, done = [], 0
    last = int(case["until"])
    for end in range(EVERY, last + 1, EVERY):
        if aggregates:
            span = rule["buffer_time"].total_seconds()
            inside = [event for event in events if end - span < event["t"] <= end]
            if not inside:
                continue
            if "query_key" in rule:
                groups = defaultdict(list)
                for event in inside:
                    groups[event[rule["query_key"]]].append(event)
                buckets = [{"key": k, **aggregated(rule, v)} for k, v in groups.items()]
                payload = {"bucket_aggs": {"buckets": buckets}}
            else:
                payload = aggregated(rule, inside)
            made.add_aggregation_data({at(end): payload})
        else:
            batch = []
            while done < len(events) and events[done]["t"] <= end:
                batch.append(events[done])
                done += 1
            if batch:
                made.add_data(batch)
            made.garbage_collect(at(end))
        for match in made.matches:
            if rule["type"] == "spike" and not match["spike_count"] + match["reference_count"]:
                continue  # nothing against nothing
            key = match.get("key", lookup_es_key(match, rule.get("query_key", "-")))
            found.append([end, None if key in (None, "all", "other") else str(key)])
        made.matches.clear()
    return found


json.dump([run(case) for case in json.load(sys.stdin)], sys.stdout)
