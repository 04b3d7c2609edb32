module greenstack/bench

go 1.21
