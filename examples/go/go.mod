module verdict.invalid/examples/go

go 1.19
