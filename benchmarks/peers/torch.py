"""torch on the CPU: sparse features -> ReLU -> a dense output layer; Adam.

The input layer has sparse gradients (EmbeddingBag, SparseAdam), the output layer dense ones.
"""

import io

import numpy as np

from ._adapter import main, network_settings, rate_at, targets, train_network


def run(task):
    import torch
    from torch.nn import functional as F

    settings = network_settings(task)
    torch.set_num_threads(task.threads)
    torch.manual_seed(task.seed)
    width, n_classes = settings["width"], task.Y.shape[1]
    with task.fit:
        first = torch.nn.EmbeddingBag(task.X.shape[1], width, mode="sum", sparse=True)
        torch.nn.init.normal_(first.weight, std=settings["input_scale"])
        bias = torch.nn.Parameter(torch.zeros(width))
        output = torch.nn.Linear(width, n_classes)
        with torch.no_grad():
            output.bias.copy_(torch.from_numpy(_start_bias(task)))
        optimizers = [torch.optim.SparseAdam(first.parameters()),
                      torch.optim.Adam([bias, *output.parameters()])]

    def hidden(X):
        parts = X.indices.astype(np.int64), X.indptr[:-1].astype(np.int64)
        bag = first(*map(torch.from_numpy, parts), per_sample_weights=torch.from_numpy(X.data))
        return F.relu(bag + bias)

    def train_batch(X, Y, done):
        for optimizer in optimizers:
            optimizer.param_groups[0]["lr"] = rate_at(settings, done)
            optimizer.zero_grad(set_to_none=True)
        logits = output(F.dropout(hidden(X), settings["dropout"]))
        if task.variant == "softmax":
            loss = F.cross_entropy(logits, torch.from_numpy(targets(Y).toarray()))
        else:
            truth = torch.from_numpy(Y.toarray())
            loss = F.binary_cross_entropy_with_logits(logits, truth, reduction="sum") / len(logits)
        loss.backward()
        for optimizer in optimizers:
            optimizer.step()

    @torch.no_grad()
    def top(X):
        return torch.topk(output(hidden(X)), task.k).indices.numpy()

    best = train_network(task, settings, train_batch, top)
    saved = io.BytesIO()
    torch.save([first.state_dict(), bias, output.state_dict()], saved)
    task.answer(best, len(saved.getvalue()))


def _start_bias(task):
    """Log prior (odds): without it one-vs-rest losses of many classes take long to take off."""
    counts = np.bincount(task.Y.indices, minlength=task.Y.shape[1]) + 0.5
    if task.variant == "softmax":
        return np.log(counts / counts.sum()).astype(np.float32)
    prior = counts / (task.Y.shape[0] + 1)
    return np.log(prior / (1 - prior)).astype(np.float32)


if __name__ == "__main__":
    main(run, "torch")
