"""The same request gives the same pixels whatever else the server does."""

from concurrent.futures import ThreadPoolExecutor

REQUESTS = [
    {"label": 7, "n": 3, "seed": 42, "steps": 6},
    {"label": 7, "n": 2, "seed": 42, "steps": 9, "guidance_scale": 1},
    {"labels": [0, 5], "n": 2, "seed": 1, "steps": 7, "sampler": "ddpm"},
    {"label": 2, "n": 1, "seed": 9, "steps": 5, "sampler": "ddim", "eta": 0.7, "guidance_scale": 4},
]


def digests(daemon, body):
    answer = daemon.post(body)
    assert answer.status_code == 200, answer.text
    return [image["digest"] for image in answer.json()["images"]]


def test_alone_amid_load_with_other_workers_and_after_a_restart(start_daemon):
    first = start_daemon("--workers", 1)
    alone = [digests(first, body) for body in REQUESTS]
    assert len({d for ds in alone for d in ds}) == sum(len(ds) for ds in alone)
    first.stop()

    for arguments in (("--workers", 1), ("--workers", 3, "--max-batch", 2),
                      ("--workers", 2, "--max-batch", 16)):
        other = start_daemon(*arguments)
        assert [digests(other, body) for body in REQUESTS] == alone
        load = [dict(label=i % 10, n=1 + i % 5, steps=1 + i % 8, seed=i,
                     guidance_scale=1 + i % 2) for i in range(24)]
        with ThreadPoolExecutor(16) as pool:
            busy = [pool.submit(digests, other, body) for body in load]
            mixed = [pool.submit(digests, other, body) for body in REQUESTS * 3]
            assert [f.result() for f in mixed] == alone * 3
            assert all(f.result() for f in busy)
        shared = other.metrics()
        assert shared["denoised_batch_rows_sum"] > shared["denoised_batch_rows_count"], \
            "the load never shared a batch, so nothing was shown"
        other.stop()


def test_image_i_alone_is_image_i_of_many(daemon):
    many = digests(daemon, {"labels": [4, 6], "n": 3, "seed": 11, "steps": 4})
    for i, expected in enumerate(many):
        body = {"label": [4, 6][i // 3], "seed": 11, "steps": 4, "index": i}
        assert digests(daemon, body) == [expected]
        answer = daemon.get(f"/v1/samples/{body['label']}.png?seed=11&steps=4&index={i}")
        assert answer.headers["X-Sample-Digest"] == expected
