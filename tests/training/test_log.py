"""`metrics.jsonl` is readable at any moment and goes on where a resumed training does."""

from medaug.training.monitors import MetricsLog, read_metrics


def test_rows_come_back(tmp_path):
    log = MetricsLog(tmp_path)
    log.write(1, {"cycle_a": 0.123456789})
    log.write(2, {"cycle_a": 0.1})
    log.close()
    assert read_metrics(tmp_path / "metrics.jsonl") == [{"step": 1, "cycle_a": 0.123457}, {"step": 2, "cycle_a": 0.1}]


def test_no_log_has_no_rows(tmp_path):
    assert read_metrics(tmp_path / "metrics.jsonl") == []


def test_reopened_log_keeps_rows_up_to_its_step_only(tmp_path):
    log = MetricsLog(tmp_path)
    for step in (1, 2, 3, 4):
        log.write(step, {"x": step})
    with open(log.path, "a") as file:
        file.write('{"step": 5, "x"')
    assert len(read_metrics(log.path)) == 4
    again = MetricsLog(tmp_path, start_step=2)
    again.write(3, {"x": 30})
    assert read_metrics(log.path) == [{"step": 1, "x": 1}, {"step": 2, "x": 2}, {"step": 3, "x": 30}]
    log.close()
    again.close()
