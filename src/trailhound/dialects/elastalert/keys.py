"""Every key a rule of ElastAlert 2 may have, and what becomes of it here.

From `elastalert/schema.yaml` and the code of elastalert2 2.19, which reads more keys than the
schema names. A key that is not here is unknown, and said to be.
"""

COMMON = frozenset(
    (
        *("type", "index", "name", "filter", "query_key", "realert", "exponential_realert"),
        *("aggregation", "aggregation_key", "aggregate_by_match_time", "import", "alert"),
        *("description", "owner", "priority", "is_enabled", "buffer_time", "run_every"),
        *(
            "timestamp_field",
            "alert_subject",
            "alert_subject_args",
            "alert_text",
            "alert_text_args",
        ),
        *("alert_text_args", "alert_text_kw", "use_strftime_index", "alert_text_type"),
    )
)
"""Keys of every type that decide what a rule matches or says."""

_METRIC = ("metric_agg_key", "metric_agg_type", "metric_agg_script", "percentile_range")
_BUCKETS = ("bucket_interval", "sync_bucket_interval", "use_run_every_query_size", "min_doc_count")

BY_TYPE: dict[str, frozenset[str]] = {
    "any": frozenset(),
    "blacklist": frozenset(("compare_key", "blacklist", "filter_by_list")),
    "whitelist": frozenset(("compare_key", "whitelist", "ignore_null", "filter_by_list")),
    "change": frozenset(("compare_key", "ignore_null", "timeframe")),
    "frequency": frozenset(("num_events", "timeframe")),
    "spike": frozenset(
        (
            *("spike_height", "spike_type", "timeframe", "threshold_ref", "threshold_cur"),
            *("field_value", "alert_on_new_data"),
        )
    ),
    "spike_aggregation": frozenset(
        (
            *("spike_height", "spike_type", "timeframe", "threshold_ref", "threshold_cur"),
            *("alert_on_new_data", *_METRIC, *_BUCKETS),
        )
    ),
    "flatline": frozenset(("threshold", "timeframe", "forget_keys")),
    "new_term": frozenset(("fields", "terms_window_size", "alert_on_missing_field")),
    "cardinality": frozenset(
        (*("cardinality_field", "timeframe", "min_cardinality", "max_cardinality"),)
    ),
    "metric_aggregation": frozenset(("min_threshold", "max_threshold", *_METRIC, *_BUCKETS)),
    "percentage_match": frozenset(
        (
            *(
                "match_bucket_filter",
                "min_percentage",
                "max_percentage",
                "min_denominator",
                *_BUCKETS,
            ),
        )
    ),
}
"""Rule type → the keys of its own that decide."""

QUERYING = frozenset(
    (
        *(
            "es_host",
            "es_port",
            "es_hosts",
            "es_url_prefix",
            "es_username",
            "es_password",
            "es_bearer",
        ),
        *(
            "es_bearer",
            "es_api_key",
            "es_conn_timeout",
            "es_send_get_body_as",
            "use_ssl",
            "verify_certs",
        ),
        *("ca_certs", "client_cert", "client_key", "ssl_show_warn", "aws_region", "profile"),
        *("query_delay", "max_query_size", "max_scrolling", "scroll_keepalive", "max_threads"),
        *("misfire_grace_time", "scan_entire_timeframe", "search_extra_index", "query_timezone"),
        *("use_count_query", "use_terms_query", "terms_size", "doc_type", "_source_enabled"),
        *("replace_dots_in_field_names", "timestamp_type", "timestamp_format", "field"),
        *("timestamp_format_expr", "timestamp_to_datetime_format_expr", "window_step_size"),
        *("use_keyword_postfix", "allow_buffer_time_overlap", "limit_execution", "start_date"),
        *("limit_execution_coverage", "initial_starttime", "string_multi_field_name"),
    )
)
"""How Elasticsearch is asked. There is none here: events are read as they come."""

ENRICHING = frozenset(
    (
        *("include", "include_fields", "top_count_keys", "top_count_number", "raw_count_keys"),
        *("attach_related", "include_match_in_root", "include_rule_params_in_matches"),
        *("use_local_time", "custom_pretty_ts_format", "metric_format_string", "category"),
        *("percentage_format_string", "alert_missing_value", "alert_subject_max_len"),
        *("jinja_root_name", "jinja_template_path", "generate_kibana_discover_url"),
        *("shorten_kibana_discover_url", "generate_opensearch_discover_url", "opensearch_url"),
        *("aggregation_alert_time_compared_with_timestamp_field", "skip_invalid"),
    )
)
"""What an alert carries. A finding carries its events whole, at most 20 of them."""

CHANGING: dict[str, str] = {
    "match_enhancements": "modules of Python that may change or drop a match are not run",
    "run_enhancements_first": "modules of Python that may change or drop a match are not run",
    "realert_key": "each rule holds its own alerts back; none are held back for another rule",
    "alert_on_new_data": "a group is compared with its own past once that is two timeframes long",
}
"""Keys whose absence here can change what is found, and how."""

_OUTLETS = (
    *("alerta", "alertmanager", "ses", "sns", "chatwork", "datadog", "dingtalk", "discord"),
    *("email", "smtp", "exotel", "gitter", "gelf", "googlechat", "http_post", "http_post2"),
    *("indexer", "iris", "jira", "lark", "linenotify", "mattermost", "ms_teams", "opsgenie"),
    *("pagerduty", "pagertree", "rocket_chat", "servicenow", "slack", "victorops", "stomp"),
    *("telegram", "tencent_sms", "twilio", "work_wechat", "zbx", "hive", "kibana", "opensearch"),
    *("summary", "ms_power_automate", "matrixhookshot", "webex", "yzj", "flashduty", "debug"),
    *("kibana_discover", "opensearch_discover", "powerautomate", "shuffle", "boto"),
)
_DELIVERY = frozenset(
    (
        *("command", "pipe_match_json", "pipe_alert_text", "fail_on_non_zero_exit", "cc", "bcc"),
        *("from_addr", "assets_dir", "notify_email", "username", "password", "short_description"),
        *(
            "comments",
            "assignment_group",
            "subcategory",
            "cmdb_ci",
            "caller_id",
            "alert_time_limit",
        ),
    )
)


def is_delivery(key: str) -> bool:
    """Whether a key is an option of an outlet: who is told, by which way, in which form."""
    return key in _DELIVERY or any(key == o or key.startswith(f"{o}_") for o in _OUTLETS)
