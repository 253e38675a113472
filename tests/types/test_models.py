"""The list of models, as the service and other hosts send it."""

from moonshot_async.types.models import decode_model, decode_models


def test_a_model_has_the_capabilities_that_the_service_lists() -> None:
    model = decode_model(
        b'{"id":"kimi-k3","object":"model","created":1784160000,"owned_by":"moonshot","context_length":1048576,'
        b'"supports_image_in":true,"supports_video_in":true,"supports_reasoning":true,"root":"k3"}'
    )

    assert (model.id, model.object, model.created, model.owned_by) == ("kimi-k3", "model", 1784160000, "moonshot")
    assert (model.context_length, model.supports_image_in) == (1048576, True)
    assert (model.supports_video_in, model.supports_reasoning) == (True, True)
    assert model.model_extra["root"] == "k3"


def test_other_hosts_may_send_little_more_than_the_id() -> None:
    model = decode_model(b'{"id":"m","permission":null}')

    assert (model.created, model.owned_by, model.context_length) == (0, "", None)


def test_a_list_can_be_counted_and_iterated() -> None:
    models = decode_models(b'{"object":"list","data":[{"id":"a"},{"id":"b"}]}')

    assert [model.id for model in models] == ["a", "b"] == [model.id for model in models.data]
    assert len(models) == 2
    assert models.object == "list"
