"""What scripts/bench is made of.

- `machine`  processes, ports, figures of /proc
- `load`     bodies, wrk, the tills of benches/tills.rs
- `targets`  what is measured: the daemon, bare tiny_http, the peers
- `table`    medians as Markdown
- `single`, `batches`, `steady`, `stores`, `scaling`  one section each

Everything stays on loopback, and every process that is started is ended.
"""
