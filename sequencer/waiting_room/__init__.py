"""A waiting room for an announced drop: who is early draws lots, who is late queues, fairly."""
