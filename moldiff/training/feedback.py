"""Training the feedback of a model: a trained one is given an estimator, and everything but the adapter stays."""

from __future__ import annotations

from moldiff.config import FeedbackConfig, FeedbackTrainingConfig, OptimizerConfig
from moldiff.errors import MoldiffError
from moldiff.models.loaded import load_property_model
from moldiff.models.molecule_model import MoleculeModel
from moldiff.models.property_model import PropertyModel

_KEY = "feedback.property_model"


def with_feedback(
    model: MoleculeModel, chosen: FeedbackTrainingConfig, optimizer: OptimizerConfig, name: str
) -> MoleculeModel:
    """Return a model whose feedback is to be trained, and nothing else of it.

    Args:
        model: trained; its weights are taken, not copied.
        chosen: which property network becomes the estimator of a model without feedback.
        optimizer: that it is to be trained by.
        name: of the model, for messages.

    Raises:
        MoldiffError: there is no estimator, or two, or it does not fit the model; Muon is asked for.
    """
    if optimizer.muon_learning_rate:
        raise MoldiffError(
            "optimizer.muon_learning_rate is for matrices of layers, and feedback is trained without them: set it to 0"
        )
    if model.network_config.feedback is None:
        if chosen.property_model is None:
            raise MoldiffError(
                f"{name} has no feedback yet: set {_KEY} to a property network of its conditions "
                "('moldiff train property' makes one)"
            )
        estimator = load_property_model(chosen.property_model, device="cpu")
        model = _attached(model, estimator.model, chosen.property_model, name)
    elif chosen.property_model is not None:
        raise MoldiffError(f"{name} has an estimator of its own: leave {_KEY} out, its feedback is trained on")
    model.denoiser.requires_grad_(False)
    assert model.denoiser.feedback is not None
    model.denoiser.feedback.get_submodule("adapter").requires_grad_(True)
    return model


def _attached(model: MoleculeModel, estimator: PropertyModel, source: str, name: str) -> MoleculeModel:
    """Return a model with a fresh adapter, which adds nothing yet, and a property network as its estimator."""
    estimator.check_guides(model, source, name)
    for known in estimator.properties:
        if known not in model.conditions:
            raise MoldiffError(
                f"{name} cannot be asked for '{known}', which {source} estimates; it can be asked for "
                f"{', '.join(model.conditions) or 'nothing'}"
            )
    feedback = FeedbackConfig(properties=estimator.properties, estimator=estimator.network_config)
    network = model.network_config.model_copy(update={"feedback": feedback})
    built = MoleculeModel.build(
        network, model.curve_config, model.vocabulary, model.statistics, model.conditions, model.sampling
    )
    weights = built.denoiser.state_dict() | model.denoiser.state_dict()
    told = estimator.predictor
    weights |= {f"feedback.estimator.{key}": value for key, value in told.network.state_dict().items()}
    weights |= {f"feedback.{key}": getattr(told, key) for key in ("property_mean", "property_std")}
    built.denoiser.load_state_dict(weights)
    return built
